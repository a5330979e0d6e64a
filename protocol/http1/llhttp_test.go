package http1

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/weir-capture/weir/protocol"
	"github.com/weir-capture/weir/protocol/protocoltest"
)

// TestR25LLHTTPVectors gives the decoder the vectors of llhttp, the parser of
// Node.js, and compares what both speak of: messages with method, target,
// version, status, fields, body, chunks and trailers, whether they end, and
// whether the bytes are refused. What llhttp says about one direction alone
// (callbacks, pauses, positions) is left out.
func TestR25LLHTTPVectors(t *testing.T) {
	dir := filepath.Join(protocoltest.Corpora(t, "../..", "llhttp"), "test")
	differences := protocoltest.LoadDifferences(t, "testdata/llhttp-differences.txt")
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || filepath.Ext(path) != ".md" {
			return err
		}
		text, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil {
			return err
		}
		for _, v := range parseVectors(t, strings.TrimSuffix(path, ".md"), string(text)) {
			differences.Check(v.name, v.compare())
		}
		return nil
	})
	if err != nil {
		t.Fatalf("read vectors: %v", err)
	}
	differences.Done()
}

// vector is one case of llhttp's: bytes, and a log of what its parser says.
type vector struct {
	name     string
	kind     string // request, response, url, with a suffix for leniency
	input    string
	skipBody bool
	log      []string
}

func parseVectors(t *testing.T, file, text string) (vectors []vector) {
	var titles [7]string
	var v vector
	var block []string
	kind := ""
	names := map[string]int{}
	for _, line := range strings.Split(text, "\n") {
		switch {
		case kind != "" && line == "```":
			switch kind {
			case "http", "url":
				v.input = strings.Join(block, "\n")
				if kind == "url" {
					v.kind = "url"
				}
			case "log":
				v.log = block
				v.name = file
				for _, title := range titles[2:] {
					if title != "" {
						v.name += " > " + title
					}
				}
				// The table of differences ends a name with a colon.
				v.name = strings.ReplaceAll(v.name, ":", "")
				if names[v.name]++; names[v.name] > 1 {
					v.name += fmt.Sprintf(" #%d", names[v.name])
				}
				vectors = append(vectors, v)
			}
			kind, block = "", nil
		case kind != "":
			block = append(block, line)
		case strings.HasPrefix(line, "```"):
			kind = line[3:]
		case strings.HasPrefix(line, "#"):
			level := len(line) - len(strings.TrimLeft(line, "#"))
			titles[level] = strings.TrimSpace(line[level:])
			clear(titles[level+1:])
		case strings.HasPrefix(line, "<!-- meta="):
			var meta struct {
				Type     string
				SkipBody bool
			}
			text := strings.TrimSuffix(strings.TrimPrefix(line, "<!-- meta="), "-->")
			if err := json.Unmarshal([]byte(text), &meta); err != nil {
				t.Fatalf("%s: read meta %s: %v", file, text, err)
			}
			v = vector{kind: meta.Type, skipBody: meta.SkipBody}
		}
	}
	return vectors
}

var hexEscape = regexp.MustCompile(`\\x([0-9a-fA-F]+)`)

// bytes undoes the spelling of the markdown: line ends are CRLF, but a
// backslash before one joins the lines, and escapes stand for themselves.
func (v *vector) bytes() []byte {
	s := strings.ReplaceAll(v.input, "\\\n", "")
	s = strings.ReplaceAll(s, "\n", "\r\n")
	s = strings.NewReplacer(`\r`, "\r", `\n`, "\n", `\t`, "\t", `\f`, "\f").Replace(s)
	s = hexEscape.ReplaceAllStringFunc(s, func(e string) string {
		n, _ := strconv.ParseUint(e[2:], 16, 8)
		return string(rune(n)) // as UTF-8, like the vectors
	})
	return []byte(s)
}

// message is what both parsers say about one message.
type message struct {
	method, target, version, status, reason string
	fields, trailers                        []string
	body                                    string
	chunks                                  []uint64
	headed, ended                           bool
}

// outcome is what a parser says about a vector.
type outcome struct {
	messages []message
	refused  string
	upgraded bool
}

var (
	spanLine  = regexp.MustCompile(`^off=\d+ len=\d+ span\[([a-z_.]+)\]=(.*)$`)
	errorLine = regexp.MustCompile(`^off=\d+ error code=(\d+) reason="(.*)"$`)
	chunkLine = regexp.MustCompile(`^off=\d+ chunk header len=(\d+)$`)
)

// expected reads llhttp's log.
func (v *vector) expected() (o outcome) {
	var m *message
	field := ""
	for _, line := range v.log {
		_, event, _ := strings.Cut(line, " ")
		if s := spanLine.FindStringSubmatch(line); s != nil {
			text := unescape(s[2])
			switch s[1] {
			case "method":
				m.method += text
			case "url":
				m.target += text
			case "version":
				m.version += text
			case "status":
				m.reason += text
			case "body":
				m.body += text
			case "header_field":
				field += text
			case "header_value":
				list := &m.fields
				if m.headed {
					list = &m.trailers
				}
				if field != "" {
					*list = append(*list, field+":")
					field = ""
				}
				(*list)[len(*list)-1] += text
			}
			continue
		}
		if s := errorLine.FindStringSubmatch(line); s != nil {
			switch s[1] {
			case "22", "23":
				o.upgraded = true
			default:
				o.refused = s[2]
			}
			continue
		}
		if s := chunkLine.FindStringSubmatch(line); s != nil {
			n, _ := strconv.ParseUint(s[1], 10, 64)
			m.chunks = append(m.chunks, n)
			continue
		}
		switch {
		case event == "message begin":
			o.messages = append(o.messages, message{})
			m = &o.messages[len(o.messages)-1]
		case event == "header_value complete" && field != "":
			list := &m.fields
			if m.headed {
				list = &m.trailers
			}
			*list = append(*list, field+":") // an empty value has no span
			field = ""
		case strings.HasPrefix(event, "headers complete"):
			m.headed = true
			if s := regexp.MustCompile(`status=(\d+)`).FindStringSubmatch(event); s != nil {
				m.status = s[1]
			}
		case event == "message complete":
			m.ended = true
		case event == "finish=1":
			m.ended = true // by the end of the stream
		}
	}
	return o
}

var escapes = strings.NewReplacer(`\r`, "\r", `\n`, "\n", `\t`, "\t", `\f`, "\f")

// unescape reads the bytes of a span: in quotes, or the name of a line end.
func unescape(s string) string {
	switch s {
	case "lf":
		return "\n"
	case "cr":
		return "\r"
	}
	return escapes.Replace(strings.TrimSuffix(strings.TrimPrefix(s, `"`), `"`))
}

// collector is a Sink that keeps messages of one direction.
type collector struct {
	outcome
}

func (c *collector) last() *message { return &c.messages[len(c.messages)-1] }

func (c *collector) Begin(b protocol.Begin) {
	start, rest, _ := bytes.Cut(b.Head, []byte("\n"))
	m := message{headed: true, fields: fieldLines(rest)}
	words := strings.SplitN(string(bytes.TrimRight(start, "\r")), " ", 3)
	words = append(words, "", "")
	if b.Kind == protocol.Request {
		m.method, m.target, m.version = string(b.Method), words[1], strings.TrimPrefix(words[2], "HTTP/")
	} else {
		m.version, m.status, m.reason = strings.TrimPrefix(words[0], "HTTP/"), words[1], words[2]
		m.ended = b.Kind == protocol.Interim
	}
	c.messages = append(c.messages, m)
}

func (c *collector) Body(b protocol.Body) {
	c.last().body += string(b.Data)
	if b.Chunk != nil {
		c.last().chunks = append(c.last().chunks, b.Chunk.Size)
	}
}

func (c *collector) End(e protocol.End) {
	c.last().ended = !e.Incomplete
	c.last().trailers = fieldLines(e.Trailers)
}

// fieldLines lists the fields of a block as "name:value", folded lines joined
// as llhttp reports them.
func fieldLines(block []byte) (fields []string) {
	for line := range bytes.Lines(block) {
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		if (line[0] == ' ' || line[0] == '\t') && len(fields) > 0 {
			name, value, _ := strings.Cut(fields[len(fields)-1], ":")
			fields[len(fields)-1] = name + ":" + strings.TrimLeft(value+string(line), " \t")
			continue
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		fields = append(fields, string(name)+":"+strings.TrimLeft(string(value), " \t"))
	}
	return fields
}

// decode gives the vector to our decoder. Where llhttp refused a head halfway,
// the vector may stop there; we judge whole heads, so it is given its end.
func (v *vector) decode(want outcome, piece int) outcome {
	c := &collector{}
	d := protocol.Drive(New, c)
	dir := protocol.ClientToServer
	if strings.HasPrefix(v.kind, "response") {
		dir = protocol.ServerToClient
	}
	var err error
	for b := range slices.Chunk(v.bytes(), piece) {
		if err == nil {
			err = d.Data(dir, 0, b)
		}
	}
	if n := len(want.messages); err == nil && want.refused != "" && n > 0 && !want.messages[n-1].headed {
		err = d.Data(dir, 0, []byte("\r\n\r\n"))
	}
	if err == nil && strings.HasSuffix(v.kind, "-finish") {
		err = d.Close(dir, 0, true)
	}
	if errors.Is(err, protocol.ErrUpgraded) {
		c.upgraded = true
	} else if err != nil {
		c.refused = err.Error()
	}
	return c.outcome
}

// compare lists what differs.
func (v *vector) compare() (differs []string) {
	if v.kind == "url" {
		return v.compareURL()
	}
	want := v.expected()
	got := v.decode(want, 1<<20)
	if bytewise := v.decode(want, 1); !reflect.DeepEqual(got, bytewise) {
		differs = append(differs, fmt.Sprintf("whole it is %#v, byte by byte %#v", got, bytewise))
	}
	differ := func(what, want, got any) {
		if !equal(want, got) {
			differs = append(differs, fmt.Sprintf("%s is %#v for llhttp, %#v for us", what, want, got))
		}
	}
	differ("refused", want.refused != "", got.refused != "")
	if want.refused != "" || got.refused != "" {
		if len(differs) > 0 {
			differs = append(differs, fmt.Sprintf("llhttp: %q; we: %q", want.refused, got.refused))
		}
	}
	// A head that llhttp refused halfway was perhaps whole for us; then it is
	// the last, and incomplete.
	heads := want.messages
	for len(heads) > 0 && !heads[len(heads)-1].headed {
		heads = heads[:len(heads)-1]
	}
	have := got.messages
	if n := len(heads); len(have) == n+1 && want.refused != "" && got.refused != "" && !have[n].ended {
		have = have[:n]
	}
	differ("number of messages", len(heads), len(have))
	for i := range min(len(heads), len(have)) {
		w, g := heads[i], have[i]
		differ("method", w.method, g.method)
		differ("target", w.target, g.target)
		differ("version", w.version, g.version)
		differ("status", w.status, g.status)
		differ("reason", w.reason, g.reason)
		differ("fields", w.fields, g.fields)
		differ("body", w.body, g.body)
		differ("chunks", w.chunks, g.chunks)
		differ("trailers", w.trailers, g.trailers)
		differ("ended", w.ended, g.ended)
	}
	return differs
}

func equal(a, b any) bool {
	switch a := a.(type) {
	case []string:
		return slices.Equal(a, b.([]string))
	case []uint64:
		return slices.Equal(a, b.([]uint64))
	}
	return a == b
}

// compareURL compares the parts of a URL with those of a request for it. A
// fragment is part of what it follows for us: it has no place in a request.
func (v *vector) compareURL() (differs []string) {
	parts := map[string]string{}
	refused := false
	for _, line := range v.log {
		if s := spanLine.FindStringSubmatch(line); s != nil {
			parts[s[1]] = unescape(s[2])
		}
		refused = refused || errorLine.MatchString(line)
	}
	c := &urlCollector{}
	err := protocol.Drive(New, c).Data(protocol.ClientToServer, 0, []byte("GET "+string(v.bytes())+" HTTP/1.1\r\n\r\n"))
	if refused != (err != nil) {
		return []string{fmt.Sprintf("refused by llhttp: %v, by us: %v", refused, err)}
	}
	if refused {
		return nil
	}
	path, query := parts["url.path"], parts["url.query"]
	if f := parts["url.fragment"]; f != "" && query != "" {
		query += "#" + f
	} else if f != "" {
		path += "#" + f
	}
	for _, p := range [...]struct{ what, want, got string }{
		{"host", parts["url.host"], c.host},
		{"path", path, c.path},
		{"query", query, c.query},
	} {
		if p.want != p.got {
			differs = append(differs, fmt.Sprintf("%s is %q for llhttp, %q for us", p.what, p.want, p.got))
		}
	}
	return differs
}

type urlCollector struct{ host, path, query string }

func (c *urlCollector) Begin(b protocol.Begin) {
	c.host, c.path, c.query = string(b.Host), string(b.Path), string(b.Query)
}
func (c *urlCollector) Body(protocol.Body) {}
func (c *urlCollector) End(protocol.End)   {}
