package interchange

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/internal/httphead"
)

// curlWriter writes one command after another, each with its pair's id in a
// comment.
type curlWriter struct{ w io.Writer }

func (c *curlWriter) Write(p Pair) error {
	cmd, err := CurlCommand(p.RRPair)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(c.w, "# "+ID(p.RRPair)+"\n"+cmd+"\n"); err != nil {
		return fmt.Errorf("write pair: %w", err)
	}
	return nil
}

func (c *curlWriter) Close() error { return nil }

// inlineBody is how much of a body stands in the command itself. Linux takes
// 128 KiB in one argument; a base64 pipe takes anything.
const inlineBody = 16 << 10

// hopByHop are fields that belong to the connection that was captured, not to
// the request (RFC 9110, section 7.6.1), and those that curl computes from
// the body that it is given.
var hopByHop = []string{
	"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
	"content-length",
}

// plainTarget is what curl passes on unchanged when it stands in a URL; any
// other target is given to it as it is.
var plainTarget = regexp.MustCompile(`^/[A-Za-z0-9\-._~!$&'()*+,;=:@%/?\[\]{}|]*$`)

// plainHost is a host that makes curl's own Host field equal to the captured
// one: lower case, no default port, no trailing dot.
var plainHost = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*(:[1-9][0-9]{0,4})?$`)

// CurlCommand is a command for a POSIX shell with bash's $'…' quoting that
// sends the pair's request again: same method, target, fields in order, body.
// Whatever was captured, the shell runs curl (and base64) and nothing else. The
// error is ErrLeftOut where there is no such command.
func CurlCommand(p *capturev1.RRPair) (string, error) {
	m := p.GetRequest()
	method, targetText, version, ok := requestLine(m.GetHead())
	if p.GetProtocol() != "http" || !ok {
		return "", leftOut("only an HTTP request can be written as a curl command, and this pair has none")
	}
	if method == http.MethodConnect {
		return "", leftOut("a CONNECT request opens a tunnel, and curl has no command that sends the same one")
	}
	target := []byte(targetText)
	c := curl{}
	if m.GetTruncated() {
		c.note(fmt.Sprintf("The body is cut: %d of %d bytes were captured.", len(m.GetBody()), m.GetBodySize()))
	}
	if slices.Contains(p.GetFlags(), capturev1.Flag_FLAG_REDACTED) {
		c.note("Redacted values are placeholders.")
	}
	if m.GetBodyDecoded() {
		c.note("The body was stored decoded; the Content-Encoding field is left out.")
	}
	c.word("curl")
	if version == "HTTP/1.0" {
		c.word("--http1.0")
	}
	// No globbing of []{}, no tidying of /../.
	c.word("--globoff", "--path-as-is")

	body := m.GetBody()
	switch {
	case method == http.MethodHead && len(body) == 0:
		// -X HEAD would wait for a body that never comes.
		c.word("--head")
	case method == http.MethodGet && len(body) == 0:
	default:
		// Attached, so that a method that begins with - is no option.
		c.word("-X" + quote([]byte(method)))
	}
	host := c.fields(m, sendsBody(method, body))
	c.data(method, body)
	if !plainHostURL(host) {
		// The Host field is given as it was; curl only has to find the server.
		host = p.GetServer()
	}
	if plainTarget.Match(target) {
		c.word(quote(append([]byte("http://"+host), target...)))
	} else {
		c.word("--request-target", quote(target), quote([]byte("http://"+host+"/")))
	}
	return c.String(), nil
}

// curl is a command under construction.
type curl struct {
	notes []string
	pipe  string
	words []string
}

func (c *curl) note(s string)      { c.notes = append(c.notes, "# "+s) }
func (c *curl) word(ws ...string)  { c.words = append(c.words, ws...) }
func (c *curl) header(line string) { c.word("-H", quote([]byte(line))) }

func (c *curl) String() string {
	var b strings.Builder
	for _, n := range c.notes {
		b.WriteString(n + "\n")
	}
	b.WriteString(c.pipe)
	b.WriteString(strings.Join(c.words, " "))
	b.WriteByte('\n')
	return b.String()
}

// fields adds the captured ones, takes away those that curl would add, and
// returns the value of Host.
func (c *curl) fields(m *capturev1.Message, body bool) (host string) {
	sent := map[string]bool{}
	left := 0
	for f := range httphead.Fields(m.GetHead()) {
		name := strings.ToLower(string(f.Name))
		switch {
		case slices.Contains(hopByHop, name), name == "content-encoding" && m.GetBodyDecoded():
			continue
		case !sendable(f):
			left++
			continue
		case name == "host" && !sent[name]:
			if host = string(f.Value); plainHostURL(host) {
				sent[name] = true
				continue // curl makes the same one from the URL
			}
		}
		sent[name] = true
		if len(f.Value) == 0 {
			// "Name:" means "do not send it" to curl.
			c.header(string(f.Name) + ";")
			continue
		}
		c.header(string(f.Name) + ": " + string(f.Value))
	}
	own := []string{"Host", "User-Agent", "Accept"}
	if body {
		own = append(own, "Content-Type", "Expect")
	}
	for _, name := range own {
		if !sent[strings.ToLower(name)] {
			c.header(name + ":")
		}
	}
	if left > 0 {
		c.note(fmt.Sprintf("Header fields left out, because curl cannot send them as they were: %d.", left))
	}
	return host
}

// sendable reports whether curl sends a field as it is given.
func sendable(f httphead.Field) bool {
	if len(f.Name) == 0 || bytes.IndexByte(f.Raw, ':') < 0 || f.Name[0] == '@' || bytes.ContainsAny(f.Name, " \t;") {
		// "@" would read a file; the others change what curl sends.
		return false
	}
	// NUL cannot be an argument, and line ends would begin a field of their own.
	return !bytes.ContainsAny(f.Name, "\x00\r\n") && !bytes.ContainsAny(f.Value, "\x00\r\n")
}

// sendsBody reports whether data will be given. An empty body is given where
// servers expect a length.
func sendsBody(method string, body []byte) bool {
	return len(body) > 0 || method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch
}

func (c *curl) data(method string, body []byte) {
	switch {
	case !sendsBody(method, body):
	case len(body) <= inlineBody && utf8.Valid(body) && !bytes.Contains(body, []byte{0}):
		// Unlike --data-binary, a leading @ is only an @ here.
		c.word("--data-raw", quote(body))
	default:
		c.pipe = "printf %s '" + base64.StdEncoding.EncodeToString(body) + "' | base64 -d | "
		c.word("--data-binary", "@-")
	}
}

// plainHostURL reports whether a host may stand in the URL and gives the same
// Host field again.
func plainHostURL(host string) bool {
	if a, err := netip.ParseAddrPort(host); err == nil {
		return a.String() == host && a.Port() != 80 && a.Addr().Zone() == ""
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Is4() && a.String() == host
	}
	if !plainHost.MatchString(host) {
		return false
	}
	name, port, _ := strings.Cut(host, ":")
	last := name[strings.LastIndexByte(name, '.')+1:]
	// A last label of digits is an address in one of its odd forms, which
	// curl writes anew; so are hexadecimal ones.
	return port != "80" && strings.Trim(last, "0123456789") != "" && !strings.HasPrefix(last, "0x")
}

// quote makes one word of a shell. What is printable stays readable in single
// quotes; everything else, such as control and direction characters, is
// written as escapes, so that what one sees is what is sent. b has no NUL.
func quote(b []byte) string {
	plain := utf8.Valid(b)
	if plain {
		for _, r := range string(b) {
			if r != ' ' && !unicode.IsPrint(r) {
				plain = false
				break
			}
		}
	}
	if plain {
		return "'" + strings.ReplaceAll(string(b), "'", `'\''`) + "'"
	}
	var out strings.Builder
	out.WriteString("$'")
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case r == '\n':
			out.WriteString(`\n`)
		case r == '\t':
			out.WriteString(`\t`)
		case r == '\r':
			out.WriteString(`\r`)
		case r == '\'' || r == '\\':
			out.WriteByte('\\')
			out.WriteRune(r)
		case r == '!' || r == utf8.RuneError && n == 1 || r != ' ' && !unicode.IsPrint(r):
			// An interactive shell may expand ! even here.
			for _, c := range b[:n] {
				fmt.Fprintf(&out, `\x%02x`, c)
			}
		default:
			out.Write(b[:n])
		}
		b = b[n:]
	}
	out.WriteString("'")
	return out.String()
}
