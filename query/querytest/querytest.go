// Package querytest holds the table that every evaluation of the query
// language has to pass: a set of pairs, and queries with the pairs that they
// match. Package query runs it against its matcher, stores against what they
// compile queries to. It also generates random queries and pairs, so that two
// evaluations can be compared.
package querytest

import (
	"bytes"
	_ "embed"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	"github.com/rogpeppe/go-internal/txtar"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/internal/bodycodec"
	"github.com/weir-capture/weir/internal/httphead"
	"github.com/weir-capture/weir/query"
)

//go:embed testdata/pairs.txt
var pairsText []byte

//go:embed testdata/match.txt
var matchText string

// Pair is a pair of the table with the name that cases call it by.
type Pair struct {
	Name string
	*capturev1.RRPair
}

// Base is when the first pair of the table began; each later one began a
// second after the one before it.
var Base = time.Date(2026, 11, 2, 9, 30, 0, 0, time.UTC)

// Pairs makes the pairs of the table. The caller owns them.
func Pairs(tb testing.TB) []Pair {
	tb.Helper()
	var pairs []Pair
	for i, f := range txtar.Parse(pairsText).Files {
		p, err := parsePair(i, string(f.Data))
		if err != nil {
			tb.Fatalf("pairs.txt: pair %s: %v", f.Name, err)
		}
		pairs = append(pairs, Pair{f.Name, p})
	}
	return pairs
}

// Case is a query and the names of all pairs that it matches.
type Case struct {
	Line  int
	Query string
	Match []string
}

// Cases reads the cases of the table, one a line:
//
//	status:5xx => refused slow
//
// "all" and "none" stand for all and no pairs.
func Cases(tb testing.TB) []Case {
	tb.Helper()
	var cases []Case
	for i, line := range strings.Split(matchText, "\n") {
		if line == "" || strings.HasPrefix(line, "# ") {
			continue
		}
		q, names, ok := strings.Cut(line, "=>")
		if !ok {
			tb.Fatalf("match.txt:%d: no =>", i+1)
		}
		c := Case{Line: i + 1, Query: strings.TrimSpace(q), Match: strings.Fields(names)}
		switch {
		case slices.Equal(c.Match, []string{"none"}):
			c.Match = nil
		case slices.Equal(c.Match, []string{"all"}):
			c.Match = nil
			for _, p := range Pairs(tb) {
				c.Match = append(c.Match, p.Name)
			}
		}
		cases = append(cases, c)
	}
	return cases
}

// Run checks all cases. search gives the ids, as query.FormatID writes them,
// of those pairs of the table that q matches.
func Run(t *testing.T, search func(t *testing.T, q *query.Query) (ids []string)) {
	names := map[string]string{}
	for _, p := range Pairs(t) {
		names[query.FormatID(p.Id)] = p.Name
	}
	for _, c := range Cases(t) {
		t.Run(fmt.Sprintf("match.txt:%d", c.Line), func(t *testing.T) {
			q, err := query.Parse(c.Query)
			if err != nil {
				t.Fatalf("%s: %v", c.Query, err)
			}
			var got []string
			for _, id := range search(t, q) {
				if names[id] == "" {
					t.Errorf("%s: found id %q, which is none of the table", c.Query, id)
				}
				got = append(got, names[id])
			}
			want := slices.Sorted(slices.Values(c.Match))
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("%s\n got %v\nwant %v", c.Query, got, want)
			}
		})
	}
}

// parsePair reads one pair of pairs.txt, whose head explains the format.
func parsePair(index int, text string) (*capturev1.RRPair, error) {
	start := Base.Add(time.Duration(index) * time.Second).UnixNano()
	p := &capturev1.RRPair{
		Source:    &capturev1.Source{ProxyId: "proxy-0", Epoch: bytes.Repeat([]byte{7}, 16)},
		ProxySeq:  uint64(index) + 1,
		Direction: capturev1.Direction_DIRECTION_INBOUND,
		Protocol:  "http",
		Timing:    &capturev1.Timing{RequestFirst: start},
	}
	p.Id, _ = hex.DecodeString(fmt.Sprintf("01997b2c%04x7c449d6e%012x", index, 0x2f6a31c0b000+index))
	var lines [2][]string
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case line == "" || line[0] == '#':
			continue
		case line[0] == '>' || line[0] == '<':
			i := strings.IndexByte("><", line[0])
			lines[i] = append(lines[i], strings.TrimPrefix(line[1:], " "))
			continue
		}
		key, value, _ := strings.Cut(line, " ")
		if err := set(p, start, key, value); err != nil {
			return nil, fmt.Errorf("line %q: %w", line, err)
		}
	}
	var err error
	if p.Request, err = message(p.Request, lines[0]); err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	if p.Response, err = message(p.Response, lines[1]); err != nil {
		return nil, fmt.Errorf("encode response: %w", err)
	}
	describe(p)
	return p, nil
}

// set sets what one line of a pair says.
func set(p *capturev1.RRPair, start int64, key, value string) error {
	number := func(set func(uint64)) error {
		n, err := strconv.ParseUint(value, 10, 64)
		set(n)
		return err
	}
	after := func(set func(int64)) error {
		d, err := time.ParseDuration(value)
		set(start + int64(d))
		return err
	}
	need := func(m **capturev1.Message) *capturev1.Message {
		if *m == nil {
			*m = &capturev1.Message{}
		}
		return *m
	}
	switch key {
	case "app":
		p.Source.App = value
	case "pod":
		p.Source.Pod = value
	case "namespace":
		p.Source.Namespace = value
	case "cluster":
		p.Source.Cluster = value
	case "direction":
		p.Direction = capturev1.Direction(capturev1.Direction_value["DIRECTION_"+strings.ToUpper(value)])
	case "protocol":
		p.Protocol = value
	case "client":
		p.Client = value
	case "server":
		p.Server = value
	case "error":
		p.Error = value
	case "conn":
		return number(func(n uint64) { p.Conn = n })
	case "seq":
		return number(func(n uint64) { p.Seq = n })
	case "ttfb":
		return after(func(at int64) { p.Timing.ResponseFirst = at })
	case "duration":
		return after(func(at int64) { p.Timing.ResponseLast = at })
	case "size.request":
		return number(func(n uint64) { need(&p.Request).BodySize = n })
	case "size.response":
		return number(func(n uint64) { need(&p.Response).BodySize = n })
	case "trailer":
		m := need(&p.Response)
		m.Trailers = append(bytes.TrimSuffix(m.Trailers, []byte("\r\n")), value+"\r\n\r\n"...)
	case "decoded":
		need(&p.Response).BodyDecoded = true
	case "flag":
		for name := range strings.FieldsSeq(value) {
			f, ok := capturev1.Flag_value["FLAG_"+strings.ToUpper(name)]
			if !ok {
				return fmt.Errorf("no flag %q", name)
			}
			p.Flags = append(p.Flags, capturev1.Flag(f))
		}
	case "tag":
		if p.Tags == nil {
			p.Tags = map[string]string{}
		}
		name, v, _ := strings.Cut(value, " ")
		p.Tags[name] = v
	default:
		return fmt.Errorf("no key %q", key)
	}
	return nil
}

// message makes a message of its lines: a head, an empty line, a body, which
// is encoded as the head's Content-Encoding says.
func message(m *capturev1.Message, lines []string) (*capturev1.Message, error) {
	if lines == nil {
		return m, nil
	}
	if m == nil {
		m = &capturev1.Message{}
	}
	head, body := lines, []string(nil)
	if i := slices.Index(lines, ""); i >= 0 {
		head, body = lines[:i], lines[i+1:]
	}
	m.Head = []byte(strings.Join(head, "\r\n") + "\r\n\r\n")
	m.Body = []byte(strings.Join(body, "\n"))
	if len(m.Body) > 0 && !m.BodyDecoded {
		for _, c := range bodycodec.Codings(httphead.Values(m.Head, "content-encoding")...) {
			var err error
			if m.Body, err = Encode(c, m.Body); err != nil {
				return nil, err
			}
		}
	}
	if m.BodySize == 0 {
		m.BodySize = uint64(len(m.Body))
	}
	m.Truncated = m.BodySize > uint64(len(m.Body))
	m.WireSize = uint64(len(m.Head)) + m.BodySize
	return m, nil
}

// describe sets what a pair is about from its heads, as a decoder does.
func describe(p *capturev1.RRPair) {
	line, _ := httphead.StartLine(p.GetRequest().GetHead())
	if words := strings.Fields(string(line)); len(words) == 3 {
		p.Method = words[0]
		p.Path, p.Query, _ = strings.Cut(words[1], "?")
	}
	for _, host := range httphead.Values(p.GetRequest().GetHead(), "host") {
		p.Host = host
	}
	line, _ = httphead.StartLine(p.GetResponse().GetHead())
	if words := strings.Fields(string(line)); len(words) > 1 {
		n, _ := strconv.Atoi(words[1])
		p.Status = int32(n)
	}
}

// Encode applies a content coding. "broken" and what it does not know leave
// the body as it is.
func Encode(coding string, body []byte) ([]byte, error) {
	type writer interface {
		Write([]byte) (int, error)
		Close() error
	}
	var buf bytes.Buffer
	var w writer
	var err error
	switch coding {
	case "gzip", "x-gzip":
		w = gzip.NewWriter(&buf)
	case "deflate":
		w = zlib.NewWriter(&buf)
	case "raw-deflate":
		w, err = flate.NewWriter(&buf, flate.DefaultCompression)
	case "br":
		w = brotli.NewWriter(&buf)
	case "zstd":
		w, err = zstd.NewWriter(&buf)
	default:
		return body, nil
	}
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(body); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}
