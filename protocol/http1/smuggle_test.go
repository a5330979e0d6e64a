package http1

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/weir-capture/weir/protocol"
)

// shape is one line of testdata/smuggling.txt.
type shape struct {
	verdict, name  string
	client, server []byte
}

func shapes(t *testing.T) (all []shape) {
	t.Helper()
	text, err := os.ReadFile("testdata/smuggling.txt")
	if err != nil {
		t.Fatal(err)
	}
	for n, line := range strings.Split(string(text), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		var s shape
		if _, err := fmt.Sscanf(line, "%s %q %q %q", &s.verdict, &s.name, &s.client, &s.server); err != nil {
			t.Fatalf("line %d: %v", n+1, err)
		}
		all = append(all, s)
	}
	return all
}

// TestR26SmugglingShapes: for each shape that has carried one message inside
// another past some reader, the decoder says that it is ambiguous, or takes it
// for no HTTP, or reads the same requests as Go's net/http, however it comes
// in pieces.
func TestR26SmugglingShapes(t *testing.T) {
	all := shapes(t)
	if len(all) < 80 {
		t.Errorf("only %d shapes", len(all))
	}
	flagged := 0
	for _, s := range all {
		t.Run(s.name, func(t *testing.T) {
			for _, segment := range []int{1, 3, 1 << 20} {
				if got := verdict(s, segment); got != s.verdict {
					t.Errorf("in segments of %d: %s, want %s", segment, got, s.verdict)
				}
			}
			ours := &collector{}
			err := protocol.Drive(New, ours).Data(protocol.ClientToServer, 0, s.client)
			n := agree(t, s.client, ours.messages)
			if s.verdict == "read" && err == nil && n == 0 {
				t.Logf("net/http refuses it; we read %d requests", len(ours.messages))
			}
		})
		if s.verdict == "flagged" {
			flagged++
		}
	}
	t.Logf("%d shapes, %d flagged", len(all), flagged)
}

func verdict(s shape, segment int) string {
	d := protocol.Drive(New, &collector{})
	var err error
	for _, side := range []struct {
		dir  protocol.Direction
		data []byte
	}{{protocol.ClientToServer, s.client}, {protocol.ServerToClient, s.server}} {
		for data := side.data; len(data) > 0 && err == nil; {
			piece := bytes.Clone(data[:min(segment, len(data))])
			data = data[len(piece):]
			err = d.Data(side.dir, 0, piece)
		}
	}
	switch {
	case err == nil:
		return "read"
	case errors.Is(err, protocol.ErrAmbiguous):
		return "flagged"
	case errors.Is(err, protocol.ErrUpgraded):
		return "upgraded"
	}
	return "refused"
}
