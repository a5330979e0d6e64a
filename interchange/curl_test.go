package interchange

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/internal/httphead"
)

// received is one request as a server got it.
type received struct {
	method, target string
	headers        []string // "Name: value" in order
	host           string
	body           string
}

// echoServer reads requests without interpreting more than their framing.
type echoServer struct {
	ln   net.Listener
	got  chan received
	rc   string // folder with a .curlrc that leads every connection here
	work string
}

func newEchoServer(t *testing.T) *echoServer {
	t.Helper()
	for _, tool := range []string{"bash", "curl", "base64"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("ALLOW_MISSING") == "1" {
				t.Skipf("MISSING %s: the commands that the analyzer writes are not tried", tool)
			}
			t.Fatalf("MISSING %s: install it, or set ALLOW_MISSING=1", tool)
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	s := &echoServer{ln: ln, got: make(chan received, 1), rc: t.TempDir(), work: t.TempDir()}
	rc := fmt.Sprintf("connect-to = \"::127.0.0.1:%d\"\nsilent\nmax-time = 10\n", ln.Addr().(*net.TCPAddr).Port)
	if err := os.WriteFile(filepath.Join(s.rc, ".curlrc"), []byte(rc), 0o600); err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			if r, err := readRequest(c); err == nil {
				s.got <- r
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			c.Close()
		}
	}()
	return s
}

func readRequest(c net.Conn) (received, error) {
	c.SetDeadline(time.Now().Add(10 * time.Second))
	r := bufio.NewReader(c)
	var out received
	tp := textproto.NewReader(r)
	line, err := tp.ReadLine()
	if err != nil {
		return out, err
	}
	out.method, line, _ = strings.Cut(line, " ")
	i := strings.LastIndexByte(line, ' ')
	out.target = line[:max(i, 0)]
	length := 0
	for {
		h, err := r.ReadString('\n')
		if err != nil {
			return out, err
		}
		if h = strings.TrimSuffix(h, "\r\n"); h == "" {
			break
		}
		name, value, _ := strings.Cut(h, ":")
		value = strings.Trim(value, " \t")
		switch strings.ToLower(name) {
		case "content-length":
			if length, err = strconv.Atoi(value); err != nil {
				return out, err
			}
		case "host":
			out.host = value
		case "expect":
			io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
			fallthrough
		default:
			out.headers = append(out.headers, name+": "+value)
		}
	}
	body := make([]byte, length)
	_, err = io.ReadFull(r, body)
	out.body = string(body)
	return out, err
}

// run executes a command as a person would who pasted it.
func (s *echoServer) run(t *testing.T, command string) (received, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "--norc", "--noprofile")
	cmd.Stdin = strings.NewReader(command)
	cmd.Dir = s.work
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "CURL_HOME=" + s.rc, "HOME=" + s.work, "LC_ALL=C"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return received{}, fmt.Errorf("%w: %s", err, out)
	}
	left, err := os.ReadDir(s.work)
	if err != nil || len(left) > 0 {
		return received{}, fmt.Errorf("the command left files: %v %v", left, err)
	}
	select {
	case r := <-s.got:
		return r, nil
	case <-ctx.Done():
		return received{}, errors.New("no request came")
	}
}

func requestPair(method, target string, headers []string, body []byte) *capturev1.RRPair {
	head := method + " " + target + " HTTP/1.1\r\n" + strings.Join(headers, "\r\n")
	if len(headers) > 0 {
		head += "\r\n"
	}
	return &capturev1.RRPair{
		Protocol: "http", Server: "127.0.0.1:8080",
		Request: &capturev1.Message{Head: []byte(head + "\r\n"), Body: body, BodySize: uint64(len(body))},
	}
}

// check runs the command for a request and compares what arrives.
func (s *echoServer) check(t *testing.T, method, target string, headers []string, body []byte) {
	t.Helper()
	p := requestPair(method, target, headers, body)
	command, err := CurlCommand(p)
	if err != nil {
		t.Fatalf("%s %q: %v", method, target, err)
	}
	got, err := s.run(t, command)
	if err != nil {
		t.Fatalf("%v\n%s", err, command)
	}
	var want []string
	host := ""
	for f := range httphead.Fields(p.Request.Head) {
		switch name := strings.ToLower(string(f.Name)); name {
		case "host":
			host = string(f.Value)
		case "content-length", "connection", "transfer-encoding", "te", "upgrade", "keep-alive", "proxy-connection", "trailer":
		default:
			want = append(want, string(f.Name)+": "+string(f.Value))
		}
	}
	if got.method != method || got.target != target || got.host != host || got.body != string(body) ||
		strings.Join(got.headers, "\n") != strings.Join(want, "\n") {
		t.Errorf("sent by the command:\n%q\nwant:\n%q\ncommand:\n%s", got, received{method, target, want, host, string(body)}, command)
	}
}

func TestS15CurlSendsTheSameRequest(t *testing.T) {
	s := newEchoServer(t)
	host := "Host: shop.example:8080"
	big := bytes.Repeat([]byte("0123456789abcdef"), 200<<10/16)
	for _, c := range []struct {
		name, method, target string
		headers              []string
		body                 string
	}{
		{"plain", "GET", "/a?b=c&d=%20", []string{host, "User-Agent: x/1", "Accept: */*"}, ""},
		{"nothing of curl's own", "GET", "/", []string{host}, ""},
		{"order and duplicates", "GET", "/", []string{host, "B: 1", "A: 2", "b: 3"}, ""},
		{"empty value", "GET", "/", []string{host, "X-Empty:", "Accept:"}, ""},
		{"hop by hop", "POST", "/", []string{host, "Connection: close, X", "TE: trailers", "Transfer-Encoding: chunked", "X: 1"}, "abc"},
		{"json", "POST", "/", []string{host, "Content-Type: application/json", "Content-Length: 7"}, `{"a":1}`},
		{"no content type", "POST", "/", []string{host}, "a=b"},
		{"empty post", "POST", "/", []string{host, "Content-Length: 0"}, ""},
		{"body @", "POST", "/", []string{host}, "@/etc/passwd"},
		{"body -", "PUT", "/", []string{host}, "--output x"},
		{"line ends", "POST", "/", []string{host}, "a\r\nb\n\n\tc\x1b[31m"},
		{"shell", "POST", "/$(touch${IFS}x)`id>y`", []string{host, "X: $(touch z)'\"; touch w #", `Y: \'!!`}, "'; touch v; echo '$HOME !! \\"},
		{"NUL", "POST", "/", []string{host}, "a\x00b"},
		{"not UTF-8", "POST", "/", []string{host, "X: \xff\xfe"}, "\xff\xfe'"},
		{"CJK and direction", "POST", "/", []string{host, "X: 漢字\u202e"}, "漢字 \u202e\u200b é"},
		{"large", "POST", "/", []string{host}, string(big)},
		{"continue", "POST", "/", []string{host, "Expect: 100-continue"}, "abc"},
		{"globs", "GET", "/{a,b}/[1-3]?c[]=1", []string{host}, ""},
		{"dots", "GET", "/a/../b/./c//d/..", []string{host}, ""},
		{"fragment", "GET", "/a#b?c", []string{host}, ""},
		{"bytes in the target", "GET", "/é\xff\"<>\\^", []string{host}, ""},
		{"asterisk", "OPTIONS", "*", []string{host}, ""},
		{"absolute", "GET", "http://other.example/x?y", []string{host}, ""},
		{"own method", "-o", "/", []string{host}, ""},
		{"own method @", "M-SEARCH!'", "/", []string{host}, ""},
		{"get with body", "GET", "/", []string{host, "Content-Type: a/b"}, "body"},
		{"delete", "DELETE", "/x", []string{host}, ""},
		{"head", "HEAD", "/x", []string{host}, ""},
		{"port 80", "GET", "/", []string{"Host: shop.example:80"}, ""},
		{"upper-case host", "GET", "/", []string{"Host: Shop.Example"}, ""},
		{"odd address", "GET", "/", []string{"Host: 127.1"}, ""},
		{"hexadecimal address", "GET", "/", []string{"Host: 0x7f.0x1"}, ""},
		{"IPv6", "GET", "/", []string{"Host: [::1]:8080"}, ""},
		{"trailing dot", "GET", "/", []string{"Host: shop.example."}, ""},
		{"host with user", "GET", "/", []string{"Host: user:pw@evil.example"}, ""},
		{"host as option", "GET", "/", []string{"Host: -x"}, ""},
		{"no host", "GET", "/", []string{"X: 1"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) { s.check(t, c.method, c.target, c.headers, []byte(c.body)) })
	}
}

// TestS15CurlOfAnything makes up requests from the characters that
// shells, curl and HTTP give a meaning to.
func TestS15CurlOfAnything(t *testing.T) {
	s := newEchoServer(t)
	const seed = 20261123
	r := rand.New(rand.NewPCG(seed, 1))
	pieces := []string{
		"a", "Z", "0", "'", "\"", "`", "$", "$(id)", "${x}", "\\", "\\n", "!", "!!", "@", "-", "--", "#", "&", ";", "|", "<", ">", "*", "?", "[", "]", "{", "}", "~",
		"%00", "%", "=", ":", ",", ".", "..", "/", "é", "漢", "\u202e", "\xff", "\xc3", "\x01", "\x1b", "\x7f",
	}
	text := func(most int, more ...string) string {
		var b strings.Builder
		for range r.IntN(most + 1) {
			all := len(pieces) + len(more)
			if i := r.IntN(all); i < len(pieces) {
				b.WriteString(pieces[i])
			} else {
				b.WriteString(more[i-len(pieces)])
			}
		}
		return b.String()
	}
	for i := range 80 {
		method := []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "X-" + strconv.Itoa(i), "-d"}[r.IntN(8)]
		headers := []string{"Host: h" + strconv.Itoa(i) + ".example"}
		for n := range r.IntN(4) {
			headers = append(headers, fmt.Sprintf("X-%d: %s", n, text(12, " ", "\t")))
		}
		var body []byte
		if r.IntN(2) == 0 {
			body = []byte(text(40, "\n", "\r\n", "\x00", " ", "\t"))
		}
		s.check(t, method, "/"+text(12), headers, body)
		if t.Failed() {
			t.Fatalf("case %d of seed %d", i, seed)
		}
	}
}

func TestS15CurlSaysWhatItCannot(t *testing.T) {
	p := requestPair("POST", "/", []string{"Host: a.example", "@file: x", "no colon", "X: a"}, []byte("abc"))
	p.Request.Truncated, p.Request.BodySize = true, 3<<20
	p.Flags = []capturev1.Flag{capturev1.Flag_FLAG_REDACTED}
	got, err := CurlCommand(p)
	if err != nil {
		t.Fatal(err)
	}
	want := `# The body is cut: 3 of 3145728 bytes were captured.
# Redacted values are placeholders.
# Header fields left out, because curl cannot send them as they were: 2.
curl --globoff --path-as-is -X'POST' -H 'X: a' -H 'User-Agent:' -H 'Accept:' -H 'Content-Type:' -H 'Expect:' --data-raw 'abc' 'http://a.example/'
`
	if got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
	for _, p := range []*capturev1.RRPair{
		{Protocol: "tls", Request: &capturev1.Message{BodySize: 517}},
		{Protocol: "http"},
		requestPair("CONNECT", "a.example:443", nil, nil),
	} {
		if got, err := CurlCommand(p); err == nil {
			t.Errorf("%v gave %q", p, got)
		}
	}
}
