package http1

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"os"
	"testing"

	"github.com/weir-capture/weir/protocol"
	"github.com/weir-capture/weir/protocol/protocoltest"
)

// FuzzAgainstNetHTTP gives the same requests to Go's own reader, which many
// applications are built on. Where both of us read a request, it must be the
// same one, body and all: a difference that we do not flag would let a request
// walk past redaction inside another one.
func FuzzAgainstNetHTTP(f *testing.F) {
	for _, file := range protocoltest.Files(f) {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		c, err := protocoltest.ParseConversation(string(text))
		if err != nil {
			f.Fatal(err)
		}
		var client []byte
		for _, s := range c.Steps {
			if s.Dir == protocol.ClientToServer && s.Gap == 0 {
				client = append(client, s.Data...)
			}
		}
		if len(client) > 0 && len(client) < 8<<10 {
			f.Add(client)
		}
	}
	f.Fuzz(func(t *testing.T, client []byte) {
		ours := &collector{}
		// What we refuse is not compared from there on: that is what refusing
		// is for. Messages before it are.
		_ = protocol.Drive(New, ours).Data(protocol.ClientToServer, 0, client)
		agree(t, client, ours.messages)
	})
}

// agree compares the requests that we read with those that Go's own reader
// finds in the same bytes, as far as both find any. It returns how many those
// were.
func agree(t *testing.T, client []byte, ours []message) (n int) {
	t.Helper()
	r := bufio.NewReader(bytes.NewReader(client))
	for _, m := range ours {
		if !m.ended {
			return n
		}
		// ReadRequest leaves it to the server to skip empty lines.
		for {
			c, err := r.Peek(1)
			if err != nil || c[0] != '\r' && c[0] != '\n' {
				break
			}
			_, _ = r.Discard(1)
		}
		theirs, err := http.ReadRequest(r)
		if err != nil {
			return n
		}
		body, err := io.ReadAll(theirs.Body)
		if err != nil {
			return n
		}
		if theirs.Method != m.method {
			t.Fatalf("the method is %q for net/http, %q for us", theirs.Method, m.method)
		}
		if string(body) != m.body {
			t.Fatalf("the body of %s %s is %q for net/http, %q for us", m.method, m.target, body, m.body)
		}
		n++
	}
	return n
}
