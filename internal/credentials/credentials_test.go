package credentials

import (
	"strings"
	"testing"
)

func TestHide(t *testing.T) {
	for text, want := range map[string]string{
		"me:s3cret@h:80":                              "…@h:80",
		"me:x@s3cret@h:80":                            "…@h:80",
		"s3cret@x@h:80":                               "…@h:80",
		"http://me:s3cret@h:80/x":                     "http://…@h:80/x",
		"http://s3cret@h":                             "http://…@h",
		"http://me:s3cr/et@s3cret@h:80":               "http://…@h:80",
		`me:"s3cret'@h:80`:                            "…@h:80",
		`"me:s3cret@h:80"`:                            `"…@h:80"`,
		`ADDR="http://s3cret@h:80" is not valid`:      `ADDR="http://…@h:80" is not valid`,
		"see http://me:s3cret@h:80 now":               "see http://…@h:80 now",
		"dial tcp (me:s3cret@h:80): refused":          "dial tcp (…@h:80): refused",
		"a@b.c":                                       "a@b.c", // no address of a server
		"http://h:80/x":                               "http://h:80/x",
		"FORWARDER_ADDR me@s3cret@h:80, and so a@b.c": "FORWARDER_ADDR …@h:80, and so a@b.c",
		"": "",
	} {
		if got := Hide(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func FuzzHide(f *testing.F) {
	f.Add("http://", "h:80/x", " and more")
	f.Add(`("`, "h:1\")", "")
	f.Fuzz(func(t *testing.T, before, host, after string) {
		const secret = "s3cret"
		if strings.Contains(before+host+after, secret) {
			t.Skip()
		}
		// Whatever stands around it, in one word with an address.
		word := strings.Join(strings.Fields(before), "") + "me:" + secret + "@" + strings.Join(strings.Fields(host), "")
		if got := Hide(word + " " + after); strings.Contains(got, secret) {
			t.Errorf("%q: %q", word, got)
		}
	})
}
