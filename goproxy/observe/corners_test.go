package observe

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/goproxy/tee"
	"github.com/weir-capture/weir/internal/budget"
)

// said is what one side says in one go.
type said struct {
	dir  tee.Direction
	text string
}

// TestR25Corners plays what HTTP/1 allows and few expect, whole and in
// segments of 1, 7 and 1448 bytes: the pairs are the same, and exact.
func TestR25Corners(t *testing.T) {
	const (
		ok      = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
		next    = "GET /next HTTP/1.1\r\nHost: x\r\n\r\n"
		after   = "#1 http GET /next 200 0/2"
		expects = "PUT /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
		doubt   = "framing_ambiguous"
	)
	var requests, answers strings.Builder
	var hundred []string
	for i := range 100 {
		fmt.Fprintf(&requests, "POST /p%d HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", i, i, strings.Repeat("q", i))
		fmt.Fprintf(&answers, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", i+1, strings.Repeat("r", i+1))
		hundred = append(hundred, fmt.Sprintf("#%d http POST /p%d 200 %d/%d", i, i, i, i+1))
	}
	for _, c := range []struct {
		name string
		says []said
		want []string // a line may be the beginning of what there is
		look func(t *testing.T, p []*capturev1.RRPair)
	}{
		{name: "pipelining 100 deep", says: []said{{up, requests.String()}, {down, answers.String()}}, want: hundred},
		{
			name: "100-continue",
			says: []said{{up, expects}, {down, "HTTP/1.1 100 Continue\r\n\r\n"}, {up, "body"}, {down, ok}, {up, next}, {down, ok}},
			want: []string{"#0 http PUT /a 200 4/2", after},
			look: func(t *testing.T, p []*capturev1.RRPair) {
				if in := p[0].Response.Interim; len(in) != 1 || string(in[0]) != "HTTP/1.1 100 Continue\r\n\r\n" {
					t.Errorf("interim responses: %q", in)
				}
			},
		},
		{
			name: "100-continue, refused early, and closed",
			says: []said{{up, expects}, {down, "HTTP/1.1 417 Expectation Failed\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno"}},
			want: []string{"#0 http PUT /a 417 0/2 incomplete"},
		},
		{
			name: "100-continue, refused early, and the client goes on", // with the body, or with another request?
			says: []said{{up, expects}, {down, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"}, {up, next}},
			want: []string{"#0 http PUT /a 401 0/0 incomplete," + doubt, "#1 opaque"},
		},
		{
			name: "100-continue, answered early, and the body comes all the same",
			says: []said{{up, expects + "bo"}, {down, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n"}, {up, "dy"}, {up, next}, {down, ok}},
			want: []string{"#0 http PUT /a 413 4/0", after},
		},
		{
			name: "103",
			says: []said{{up, get}, {down, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </b>\r\n\r\n" + ok}},
			want: []string{"#0 http GET /a 200 0/2"},
			look: func(t *testing.T, p []*capturev1.RRPair) {
				if in := p[0].Response.Interim; len(in) != 2 || !bytes.Contains(in[1], []byte("</b>")) {
					t.Errorf("interim responses: %q", in)
				}
			},
		},
		{
			name: "101",
			says: []said{
				{up, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"},
				{down, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x05hello"},
				{up, "\x81\x85maskmasks"},
			},
			want: []string{"#0 http GET /ws 101 0/0", "#1 opaque 0 11/7 upgraded_from=http"},
		},
		{
			name: "101, declined, with requests behind it",
			says: []said{{up, "GET /a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n" + next}, {down, ok + ok}},
			want: []string{"#0 http GET /a 200 0/2", after},
		},
		{
			name: "HEAD with a content length",
			says: []said{{up, "HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n" + next}, {down, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + ok}},
			want: []string{"#0 http HEAD /a 200 0/0", after},
		},
		{
			name: "HEAD with a transfer coding",
			says: []said{{up, "HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n" + next}, {down, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + ok}},
			want: []string{"#0 http HEAD /a 200 0/0", after},
		},
		{
			name: "204 and 304, with lengths",
			says: []said{
				{up, get + next + next},
				{down, "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nHTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\nETag: \"a\"\r\n\r\n" + ok},
			},
			want: []string{"#0 http GET /a 204 0/0", "#1 http GET /next 304 0/0", "#2 http GET /next 200 0/2"},
		},
		{
			name: "trailers",
			says: []said{
				{up, "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n" + next},
				{down, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nServer-Timing: a\r\nX-B: c\r\n\r\n" + ok},
			},
			want: []string{"#0 http POST /a 200 3/2", after},
			look: func(t *testing.T, p []*capturev1.RRPair) {
				if q, r := string(p[0].Request.Trailers), string(p[0].Response.Trailers); q != "X-Sum: 1\r\n\r\n" || r != "Server-Timing: a\r\nX-B: c\r\n\r\n" {
					t.Errorf("trailers %q and %q", q, r)
				}
			},
		},
		{
			name: "chunk extensions",
			says: []said{{up, get + next}, {down, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n03 ;c=\"d;e\"\r\ndef\r\n0;last\r\n\r\n" + ok}},
			want: []string{"#0 http GET /a 200 0/6", after},
			look: func(t *testing.T, p []*capturev1.RRPair) {
				var lines []string
				for _, c := range p[0].Response.Chunks {
					lines = append(lines, fmt.Sprintf("%d %s", c.GetSize(), c.GetLine()))
				}
				if got := strings.Join(lines, "|"); got != "3 3;a=b|3 03 ;c=\"d;e\"|0 0;last" {
					t.Errorf("chunks %q", got)
				}
			},
		},
		{
			name: "CONNECT",
			says: []said{{up, "CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n\r\n"}, {down, "HTTP/1.1 200 OK\r\n\r\n"}, {up, "GET /not HTTP/1.1\r\n\r\n"}, {down, "tunnel"}},
			want: []string{"#0 http CONNECT 200 0/0", "#1 opaque 0 21/6 upgraded_from=http"},
			look: func(t *testing.T, p []*capturev1.RRPair) {
				if p[0].Host != "db:5432" {
					t.Errorf("host %q", p[0].Host)
				}
			},
		},
		{
			name: "CONNECT, refused",
			says: []said{{up, "CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n\r\n"}, {down, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"}, {up, next}, {down, ok}},
			want: []string{"#0 http CONNECT 403 0/2", after},
		},
		{
			name: "HTTP/1.0, until the end",
			says: []said{{up, "GET /a HTTP/1.0\r\n\r\n"}, {down, "HTTP/1.0 200 OK\r\n\r\nuntil the end"}},
			want: []string{"#0 http GET /a 200 0/13"},
		},
		{
			name: "HTTP/1.0 that is kept alive",
			says: []said{
				{up, "GET /a HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"},
				{down, "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok"},
				{up, next},
				{down, ok},
			},
			want: []string{"#0 http GET /a 200 0/2", after},
		},
		{
			name: "HTTP/0.9",
			says: []said{{up, "GET /a\r\n"}, {down, "<html>no head at all\r\n\r\n</html>"}},
			want: []string{"#0 http GET /a 0 0/31"},
			look: func(t *testing.T, p []*capturev1.RRPair) {
				if len(p[0].Response.Head) != 0 {
					t.Errorf("head %q", p[0].Response.Head)
				}
			},
		},
		{
			name: "a folded field",
			says: []said{{up, "GET /a HTTP/1.1\r\nHost: x\r\nX-Long: one\r\n two\r\n\tthree\r\n\r\n" + next}, {down, ok + ok}},
			want: []string{"#0 http GET /a 200 0/2", after},
			look: func(t *testing.T, p []*capturev1.RRPair) {
				if !bytes.Contains(p[0].Request.Head, []byte("X-Long: one\r\n two\r\n\tthree\r\n")) {
					t.Errorf("head %q", p[0].Request.Head)
				}
			},
		},
		{
			name: "a folded framing field",
			says: []said{{up, "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n 0\r\n\r\n" + next}},
			want: []string{"#0 http POST /a 0 0/0 incomplete,no_response," + doubt, "#1 opaque"},
		},
		{
			name: "the same content length twice",
			says: []said{{up, "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc" + next}, {down, ok + ok}},
			want: []string{"#0 http POST /a 200 3/2", after},
		},
		{
			name: "absolute form",
			says: []said{{up, "GET http://user:pass@shop.example:8080/a?b=c HTTP/1.1\r\nHost: other\r\n\r\n"}, {down, ok}},
			want: []string{"#0 http GET /a 200 0/2"},
			look: func(t *testing.T, p []*capturev1.RRPair) {
				if p[0].Host != "shop.example:8080" || p[0].Query != "b=c" {
					t.Errorf("host %q, query %q", p[0].Host, p[0].Query)
				}
			},
		},
		{
			name: "TE and CL",
			says: []said{{up, "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + next}},
			want: []string{"#0 http POST /a 0 0/0 incomplete,no_response," + doubt, "#1 opaque"},
		},
		{
			name: "TE and CL on a response",
			says: []said{{up, get + next}, {down, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + ok}},
			want: []string{"#0 http GET /a 200 0/0 incomplete," + doubt, "#1 http GET /next 0 0/0 no_response," + doubt, "#2 opaque"},
		},
		{
			name: "a bad chunk size",
			says: []said{{up, "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0x2\r\nde\r\n0\r\n\r\n"}},
			want: []string{"#0 http POST /a 0 3/0 incomplete,no_response," + doubt, "#1 opaque"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, segment := range []int{1, 7, 1448, 1 << 30} {
				l := newLab(t, func(s *Settings) { s.Budget = budget.New(64 << 20) })
				conn := l.connect()
				for _, s := range c.says {
					for piece := range slices.Chunk([]byte(s.text), segment) {
						conn.says(s.dir, string(piece))
					}
				}
				conn.hangUp()
				l.books()
				got := l.lines()
				if len(got) != len(c.want) || !slices.EqualFunc(got, c.want, same) {
					t.Fatalf("in segments of %d: got\n\t%s\nwant\n\t%s", segment, strings.Join(got, "\n\t"), strings.Join(c.want, "\n\t"))
				}
				if c.look != nil {
					c.look(t, l.pairs)
				}
			}
		})
	}
}

// same: what is wanted of a pair with flags leaves out the reason, which is
// said in words.
func same(got, want string) bool {
	rest, ok := strings.CutPrefix(got, want)
	return ok && (rest == "" || rest[0] == ' ' && (strings.Contains(want, "_") || strings.Contains(want, "incomplete") || strings.HasSuffix(want, "opaque")))
}
