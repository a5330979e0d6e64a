package observe

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/goproxy/tee"
	"github.com/weir-capture/weir/protocol/protocoltest"
)

// TestR26AmbiguousFramingEndsDecoding: wherever two readers of HTTP/1 could
// disagree about where a message ends, the pair is flagged, and nothing behind
// it is decoded: what is hidden in there is in no pair, so that nobody has to
// find it to redact it. (What was read of the message itself before the doubt
// is kept with the flag: what to do with it is for redaction to say.)
func TestR26AmbiguousFramingEndsDecoding(t *testing.T) {
	files, err := filepath.Glob("../../protocol/http1/testdata/bad_ambiguous_*.conv")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d conversations: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			conv, err := protocoltest.ParseConversation(string(text))
			if err != nil {
				t.Fatal(err)
			}
			l := newLab(t, nil)
			c := l.connect()
			for _, s := range conv.Steps {
				if len(s.Data) > 0 {
					c.says(tee.Direction(s.Dir), string(s.Data))
				}
			}
			c.says(up, "GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n")
			c.says(down, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhidden")
			c.hangUp()
			flagged := false
			for _, p := range l.pairs {
				here := slices.Contains(p.Flags, capturev1.Flag_FLAG_FRAMING_AMBIGUOUS)
				if flagged && !here {
					t.Errorf("decoded behind what is ambiguous: %v", p)
				}
				flagged = flagged || here
				if data, err := proto.Marshal(p); err != nil || bytes.Contains(data, []byte("hidden")) {
					t.Errorf("what is behind it was captured: %v, %v", p, err)
				}
			}
			if last := l.pairs[len(l.pairs)-1]; last.Protocol != "opaque" || len(last.GetRequest().GetHead())+len(last.GetRequest().GetBody())+len(last.GetResponse().GetBody()) != 0 {
				t.Errorf("the rest is not opaque: %v", last)
			}
			if !flagged {
				t.Errorf("nothing is flagged: %v", l.pairs)
			}
			l.books()
		})
	}
}
