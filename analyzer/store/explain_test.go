package store_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/query"
)

func TestExplain(t *testing.T) {
	for src, want := range map[string]string{
		"":                                 "index",
		"app:a status:5xx OR -method:GET":  "index app:a status:5xx OR -method:get",
		"flag:/t/":                         "index flag:/t/",
		"app:a path:/^x$/":                 "index app:a | rows path:/^x$/",
		"app:a error:refused tag.x:y":      "index app:a | rows error:refused, tag.x:y",
		"app:a declined":                   "index app:a | words declined | frames declined",
		"declined declined":                "index | words declined declined | frames declined",
		"body:(a b) header.x-y:*":          "index | words (a OR b) x y | frames body:(a b), header.x-y:*",
		`"two words" app:a`:                `index app:a | frames "two words"`,
		"-(app:a body:x)":                  "index | frames body:x",
		"json.a:1 path:/x/ OR duration:1s": "index | rows path:/x/ | frames json.a:1",
	} {
		q, err := query.Parse(src)
		if err != nil {
			t.Fatal(err)
		}
		e := store.Explain(q)
		var steps []string
		for _, s := range e.Steps {
			steps = append(steps, strings.TrimSpace(s.By+" "+s.Part))
		}
		if got := strings.Join(steps, " | "); got != want {
			t.Errorf("%s\n got %s\nwant %s", src, got, want)
		}
		if e.Scans != strings.Contains(want, "frames") {
			t.Errorf("%s: scans %v", src, e.Scans)
		}
	}
}

func ExampleExplain() {
	q, _ := query.Parse(`app:checkout status:5xx declined`)
	fmt.Print(store.Explain(q))
	// Output:
	// app:checkout status:5xx declined
	// 1. index   app:checkout status:5xx  leaves out what does not fit, by time from the newest on
	// 2. words   declined                 frames without these words are passed over
	// 3. frames  declined                 frames that are left are opened and looked at, newest first, within the scan budget
}
