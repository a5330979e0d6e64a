package interchange

import (
	"strings"
	"testing"
)

// TestRedactedIsLonger: a token may be longer than the value that it stands
// for, so that a redacted body has more bytes than it had on the wire.
func TestRedactedIsLonger(t *testing.T) {
	const redacted = `{"v":1,"flags":["redacted"],"request":{"body":"{\"password\":\"REDACTED-PASSWORD-abcdefghjkmn\"}","body_size":20}}`
	for pair, err := range Read(JSONL, strings.NewReader(redacted), Limits{}) {
		if err != nil || len(pair.GetRequest().GetBody()) < 21 {
			t.Errorf("%v: %v", pair, err)
		}
	}
}
