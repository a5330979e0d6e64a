package interchange

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/internal/bodycodec"
	"github.com/weir-capture/weir/internal/httphead"
)

// rationed lets at most left bytes through, which is what is read for one
// value of the file.
type rationed struct {
	r    io.Reader
	left int
}

var errRation = errors.New("value is too long")

func (r *rationed) Read(b []byte) (int, error) {
	if r.left <= 0 {
		return 0, errRation
	}
	// Small steps: a decoder would otherwise read far ahead of its value.
	n, err := r.r.Read(b[:min(len(b), r.left, 64<<10)])
	r.left -= n
	return n, err
}

// readHAR reads log.entries one by one. What stands beside them is skipped.
func readHAR(r io.Reader, l Limits) iter.Seq2[*capturev1.RRPair, error] {
	return func(yield func(*capturev1.RRPair, error) bool) {
		in := &rationed{r: skipBOM(r), left: l.EntryBytes}
		h := &harReader{in: in, dec: json.NewDecoder(in), limits: l, yield: yield}
		err := h.file()
		if err == nil || errors.Is(err, errStopped) {
			return
		}
		wrong := &EntryError{Entry: h.entry, Final: true}
		_, syntax := errors.AsType[*json.SyntaxError](err)
		_, want := errors.AsType[*wantError](err)
		switch {
		case errors.Is(err, errRation):
			wrong.Entry++
			wrong.Message, wrong.Want = "it is too long", fmt.Sprintf("at most %d bytes", l.EntryBytes)
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			wrong.Entry++
			wrong.Message, wrong.Want = fmt.Sprintf("the file ends within it, at byte %d", h.dec.InputOffset()), "a whole HAR file"
		case syntax:
			wrong.Entry++
			wrong.Message, wrong.Want = fmt.Sprintf("the file is not JSON from byte %d on: %v", h.dec.InputOffset(), err), "a HAR file: {\"log\": {\"entries\": [ … ]}}"
		case want:
			wrong.Message, wrong.Want = explain(err)
		default:
			yield(nil, fmt.Errorf("read pairs: %w", err))
			return
		}
		yield(nil, wrong)
	}
}

// skipBOM leaves out the mark that some programs put before UTF-8.
func skipBOM(r io.Reader) io.Reader {
	mark := make([]byte, 3)
	n, err := io.ReadFull(r, mark)
	if err == nil && string(mark) == "\ufeff" {
		return r
	}
	rest := io.Reader(strings.NewReader(string(mark[:n])))
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return io.MultiReader(rest, failing{err})
	}
	return io.MultiReader(rest, r)
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

var errStopped = errors.New("consumer stopped")

type harReader struct {
	in     *rationed
	dec    *json.Decoder
	limits Limits
	yield  func(*capturev1.RRPair, error) bool
	entry  int64
	found  bool
}

// file is {"log": {"entries": […]}}, in whatever company.
func (h *harReader) file() error {
	if err := h.object(func(name string) error {
		if name != "log" {
			return h.skip()
		}
		return h.object(func(name string) error {
			if name != "entries" {
				return h.skip()
			}
			return h.entries()
		})
	}); err != nil {
		return err
	}
	if !h.found {
		return &wantError{"the file has no log.entries", "a HAR file: {\"log\": {\"entries\": [ … ]}}"}
	}
	// What follows, such as a second file, would be lost without a word.
	h.in.left = h.limits.EntryBytes
	switch _, err := h.dec.Token(); {
	case errors.Is(err, io.EOF):
		return nil
	case err == nil:
		return &wantError{fmt.Sprintf("something follows the end of the HAR, before byte %d", h.dec.InputOffset()), "one HAR in a file"}
	default:
		return err
	}
}

// object gives each member's name to a function that reads its value.
func (h *harReader) object(member func(name string) error) error {
	h.in.left = h.limits.EntryBytes
	t, err := h.dec.Token()
	if err != nil {
		return err
	}
	if t != json.Delim('{') {
		return &wantError{fmt.Sprintf("at byte %d is no JSON object", h.dec.InputOffset()), "a HAR file: {\"log\": {\"entries\": [ … ]}}"}
	}
	for h.dec.More() {
		h.in.left = h.limits.EntryBytes
		name, err := h.dec.Token()
		if err != nil {
			return err
		}
		if err := member(fmt.Sprint(name)); err != nil {
			return err
		}
	}
	_, err = h.dec.Token()
	return err
}

func (h *harReader) skip() error {
	h.in.left = h.limits.EntryBytes
	var raw json.RawMessage
	return h.dec.Decode(&raw)
}

func (h *harReader) entries() error {
	h.found = true
	t, err := h.dec.Token()
	if err != nil {
		return err
	}
	if t != json.Delim('[') {
		return &wantError{"log.entries is no JSON array", "one"}
	}
	for h.dec.More() {
		h.in.left = h.limits.EntryBytes
		var raw json.RawMessage
		if err := h.dec.Decode(&raw); err != nil {
			return err
		}
		h.entry++
		p, wrong := parseEntry(raw, false, h.entry, h.limits, parseHAR)
		if wrong != nil {
			if !h.yield(nil, wrong) {
				return errStopped
			}
		} else if !h.yield(p, nil) {
			return errStopped
		}
	}
	_, err = h.dec.Token()
	return err
}

func parseHAR(raw []byte) (*capturev1.RRPair, error) {
	var e harEntry
	if err := json.Unmarshal(raw, &e); err != nil {
		return nil, err
	}
	return e.pair()
}

// pair is what an entry says: in _weir, and in its own members where _weir
// leaves it to them.
func (e *harEntry) pair() (*capturev1.RRPair, error) {
	d := e.Weir
	if d == nil {
		return e.foreign()
	}
	p, err := d.pair()
	if err != nil {
		return nil, fmt.Errorf("_weir: %w", err)
	}
	u := e.parsedURL()
	if d.About == nil {
		p.Method, p.Path, p.Query, p.Status = e.Request.Method, u.path, u.query, e.Response.Status
		p.Host = e.host(u)
	}
	if d.Request != nil {
		if d.Request.Head == nil {
			if p.Request.Head, err = e.requestHead(u, false); err != nil {
				return nil, err
			}
		}
		if d.Request.Body == nil {
			if p.Request.Body, err = e.requestBody(); err != nil {
				return nil, err
			}
		}
	}
	if d.Response != nil {
		if d.Response.Head == nil {
			if p.Response.Head, err = e.responseHead(); err != nil {
				return nil, err
			}
		}
		if d.Response.Body == nil {
			if p.Response.Body, err = e.responseBody(); err != nil {
				return nil, err
			}
		}
	}
	return p, nil
}

// foreign makes a pair of an entry that another program wrote.
func (e *harEntry) foreign() (*capturev1.RRPair, error) {
	if e.Request.Method == "" || e.Request.URL == "" {
		return nil, &wantError{"it has no request.method or no request.url", "an entry of HAR 1.2"}
	}
	started, err := parseTime(e.Started)
	if err != nil {
		return nil, fmt.Errorf("startedDateTime: %w", err)
	}
	u := e.parsedURL()
	p := &capturev1.RRPair{
		Protocol: "http", Method: e.Request.Method, Host: e.host(u), Path: u.path, Query: u.query,
		Server: e.server(u), Error: e.Response.Error, Source: &capturev1.Source{}, Timing: e.timing(started),
		Request: &capturev1.Message{},
	}
	if n, err := strconv.ParseUint(e.Connection, 10, 64); err == nil {
		p.Conn = n
	}
	if u.scheme != "http" && u.scheme != "" && len(u.scheme) <= maxTag {
		p.Tags = map[string]string{schemeTag: u.scheme}
	}
	if p.Request.Head, err = e.requestHead(u, true); err != nil {
		return nil, err
	}
	if p.Request.Body, err = e.requestBody(); err != nil {
		return nil, err
	}
	truncated := fillMessage(p.Request, e.Request.BodySize, 0)
	if e.Response.Status <= 0 {
		p.Flags = append(p.Flags, capturev1.Flag_FLAG_NO_RESPONSE)
		if p.Error == "" {
			p.Error = "no response in the HAR"
		}
		p.Timing.ResponseFirst, p.Timing.ResponseLast = 0, 0
	} else {
		p.Status, p.Response = e.Response.Status, &capturev1.Message{}
		if p.Response.Head, err = e.responseHead(); err != nil {
			return nil, err
		}
		if p.Response.Body, err = e.responseBody(); err != nil {
			return nil, err
		}
		p.Response.BodyDecoded = len(p.Response.GetBody()) > 0 &&
			len(bodycodec.Codings(httphead.Values(p.Response.GetHead(), "Content-Encoding")...)) > 0
		truncated = fillMessage(p.Response, e.Response.BodySize, e.Response.Content.Size) || truncated
	}
	if truncated {
		p.Flags = append(p.Flags, capturev1.Flag_FLAG_TRUNCATED)
	}
	return p, nil
}

// fillMessage sets the sizes of a message from what the file says of them; -1
// is "not known" there. It reports whether less of the body is there than the
// file says that there was.
func fillMessage(m *capturev1.Message, bodySize, contentSize int64) bool {
	have := int64(len(m.GetBody()))
	if have == 0 {
		m.BodySize = uint64(max(bodySize, contentSize, 0))
		m.Truncated = m.GetBodySize() > 0
		return m.GetTruncated()
	}
	m.BodySize = uint64(have)
	if m.GetBodyDecoded() && bodySize > 0 {
		m.BodySize = uint64(bodySize)
	}
	return false
}

// harTarget is what is known from an entry's URL.
type harTarget struct {
	scheme, host, path, query string
}

// parsedURL splits the URL without changing a byte of its parts.
func (e *harEntry) parsedURL() harTarget {
	scheme, rest, ok := strings.Cut(e.Request.URL, "://")
	if !ok {
		scheme, rest = "", e.Request.URL
	}
	rest, _, _ = strings.Cut(rest, "#")
	t := harTarget{scheme: strings.ToLower(scheme)}
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		t.host, rest = rest[:i], rest[i:]
	} else {
		t.host, rest = rest, ""
	}
	if i := strings.LastIndexByte(t.host, '@'); i >= 0 {
		t.host = t.host[i+1:] // a name and a password belong to nobody else
	}
	t.path, t.query, _ = strings.Cut(rest, "?")
	if t.path == "" {
		t.path = "/"
	}
	return t
}

// host is the authority that the request named.
func (e *harEntry) host(u harTarget) string {
	for _, f := range e.Request.Headers {
		if strings.EqualFold(f.Name, "Host") {
			return f.Value
		}
	}
	return u.host
}

// server is where the request went, "ip:port", as far as that is known.
func (e *harEntry) server(u harTarget) string {
	ip, err := netip.ParseAddr(strings.Trim(e.ServerIP, "[]"))
	if err != nil {
		return ""
	}
	port := "80"
	if u.scheme == "https" {
		port = "443"
	}
	if parsed, err := url.Parse("//" + u.host); err == nil && parsed.Port() != "" {
		port = parsed.Port()
	}
	return net.JoinHostPort(ip.WithZone("").String(), port)
}

// timing counts from the start; -1 is "does not apply" (HAR 1.2, timings).
func (e *harEntry) timing(started int64) *capturev1.Timing {
	at := started
	after := func(parts ...float64) int64 {
		for _, ms := range parts {
			// A day bounds what a mistaken file says.
			if ms > 0 && !math.IsNaN(ms) {
				at += int64(min(ms, 86_400_000) * 1e6)
			}
		}
		return at
	}
	t := e.Timings
	return &capturev1.Timing{
		RequestFirst: after(t.Blocked, t.DNS, t.Connect), RequestLast: after(t.Send),
		ResponseFirst: after(t.Wait), ResponseLast: after(t.Receive),
	}
}

// versionWord is the version as it stands in a start line.
func versionWord(v string) string {
	switch strings.ToLower(v) {
	case "", "unknown":
		return "HTTP/1.1"
	case "h2", "http/2.0", "h2c":
		return "HTTP/2"
	case "h3", "http/3.0":
		return "HTTP/3"
	}
	if strings.HasPrefix(v, "http/") {
		return strings.ToUpper(v)
	}
	return v
}

// requestHead writes a header block with what the entry says. addHost: HTTP/2
// has the host elsewhere, and files of browsers leave it out.
func (e *harEntry) requestHead(u harTarget, addHost bool) ([]byte, error) {
	target := u.path
	if u.query != "" || strings.Contains(e.Request.URL, "?") {
		target += "?" + u.query
	}
	version := e.Request.HTTPVersion
	fields := e.Request.Headers
	if addHost {
		version = versionWord(version)
		if e.host(u) == u.host && u.host != "" && !has(fields, "Host") {
			fields = append([]harField{{"Host", u.host}}, fields...)
		}
	}
	return head(e.Request.Method+" "+target+" "+version, 3, fields)
}

func has(fields []harField, name string) bool {
	for _, f := range fields {
		if strings.EqualFold(f.Name, name) {
			return true
		}
	}
	return false
}

func (e *harEntry) responseHead() ([]byte, error) {
	version := e.Response.HTTPVersion
	if e.Weir == nil {
		version = versionWord(version)
	}
	return head(fmt.Sprintf("%s %03d %s", version, e.Response.Status, e.Response.StatusText), 2, e.Response.Headers)
}

// head writes a header block. A line end within what is written would begin
// a line that nobody sent: within a value it separates values (browsers join
// those of Set-Cookie so), elsewhere it is refused.
func head(start string, words int, fields []harField) ([]byte, error) {
	if strings.ContainsAny(start, "\r\n\x00") || words == 3 && strings.Count(start, " ") != 2 {
		return nil, &wantError{"the start line " + shown(start) + " is not one of HTTP", "a method, a URL and a version without spaces and line ends"}
	}
	b := append(make([]byte, 0, 1024), start...)
	b = append(b, "\r\n"...)
	for _, f := range fields {
		if strings.HasPrefix(f.Name, ":") {
			continue // HTTP/2 has its start line in such fields
		}
		if f.Name == "" || strings.ContainsAny(f.Name, ": \t\r\n\x00") {
			return nil, &wantError{"the header name " + shown(f.Name) + " is not one of HTTP", "a name without spaces, colons and line ends"}
		}
		for value := range strings.SplitSeq(f.Value, "\n") {
			value = strings.Trim(value, " \t\r")
			if strings.ContainsAny(value, "\r\x00") {
				return nil, &wantError{"the value of header " + shown(f.Name) + " has control characters", "a value without them"}
			}
			b = append(b, f.Name...)
			b = append(b, ':')
			if value != "" {
				b = append(b, ' ')
				b = append(b, value...)
			}
			b = append(b, "\r\n"...)
		}
	}
	return append(b, "\r\n"...), nil
}

func (e *harEntry) requestBody() ([]byte, error) {
	d := e.Request.PostData
	if d == nil {
		return nil, nil
	}
	if strings.EqualFold(d.Encoding, "base64") {
		return decode64("request.postData.text", d.Text)
	}
	if d.Text == "" && len(d.Params) > 0 {
		var parts []string
		for _, p := range d.Params {
			parts = append(parts, url.QueryEscape(p.Name)+"="+url.QueryEscape(p.Value))
		}
		return []byte(strings.Join(parts, "&")), nil
	}
	return []byte(d.Text), nil
}

func (e *harEntry) responseBody() ([]byte, error) {
	c := e.Response.Content
	if strings.EqualFold(c.Encoding, "base64") {
		return decode64("response.content.text", c.Text)
	}
	return []byte(c.Text), nil
}

func decode64(where, v string) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(v)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", where, err)
	}
	return b, nil
}
