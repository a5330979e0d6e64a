package protocol

import "testing"

func TestHasMagic(t *testing.T) {
	for _, test := range []struct {
		b    string
		want Verdict
	}{{"", NeedMore}, {"m", NeedMore}, {"magi", NeedMore}, {"magic", Match}, {"magical", Match}, {"mug", NoMatch}, {"musical", NoMatch}} {
		if got := HasMagic([]byte(test.b), "magic"); got != test.want {
			t.Errorf("%q is %v, want %v", test.b, got, test.want)
		}
	}
}

func TestClientFirst(t *testing.T) {
	detect := ClientFirst(func(client []byte) Verdict { return Is(client[0] == 'x') })
	for _, test := range []struct {
		client, server string
		want           Verdict
	}{{"", "", NeedMore}, {"", "x", NoMatch}, {"x", "", Match}, {"y", "", NoMatch}, {"x", "y", Match}} {
		if got := detect([]byte(test.client), []byte(test.server)); got != test.want {
			t.Errorf("client %q, server %q is %v, want %v", test.client, test.server, got, test.want)
		}
	}
}
