package interchange

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/internal/bodycodec"
	"github.com/weir-capture/weir/internal/httphead"
)

// Members of HAR 1.2 as far as they are written and read. What a reader
// ignores is not here.
type (
	harEntry struct {
		Started    string      `json:"startedDateTime"`
		Time       float64     `json:"time"`
		Request    harRequest  `json:"request"`
		Response   harResponse `json:"response"`
		Cache      struct{}    `json:"cache"`
		Timings    harTimings  `json:"timings"`
		ServerIP   string      `json:"serverIPAddress,omitempty"`
		Connection string      `json:"connection,omitempty"`
		Comment    string      `json:"comment,omitempty"`
		Weir       *document   `json:"_weir,omitempty"`
	}
	harRequest struct {
		Method      string       `json:"method"`
		URL         string       `json:"url"`
		HTTPVersion string       `json:"httpVersion"`
		Cookies     []harCookie  `json:"cookies"`
		Headers     []harField   `json:"headers"`
		QueryString []harField   `json:"queryString"`
		PostData    *harPostData `json:"postData,omitempty"`
		HeadersSize int64        `json:"headersSize"`
		BodySize    int64        `json:"bodySize"`
	}
	harResponse struct {
		Status      int32       `json:"status"`
		StatusText  string      `json:"statusText"`
		HTTPVersion string      `json:"httpVersion"`
		Cookies     []harCookie `json:"cookies"`
		Headers     []harField  `json:"headers"`
		Content     harContent  `json:"content"`
		RedirectURL string      `json:"redirectURL"`
		HeadersSize int64       `json:"headersSize"`
		BodySize    int64       `json:"bodySize"`
		Error       string      `json:"_error,omitempty"`
	}
	harField struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	harCookie struct {
		Name     string `json:"name"`
		Value    string `json:"value"`
		Path     string `json:"path,omitempty"`
		Domain   string `json:"domain,omitempty"`
		Expires  string `json:"expires,omitempty"`
		HTTPOnly bool   `json:"httpOnly,omitempty"`
		Secure   bool   `json:"secure,omitempty"`
	}
	harPostData struct {
		MimeType string     `json:"mimeType"`
		Params   []harField `json:"params"`
		Text     string     `json:"text"`
		// Encoding is of no standard; some programs write it.
		Encoding string `json:"encoding,omitempty"`
		Comment  string `json:"comment,omitempty"`
	}
	harContent struct {
		Size        int64  `json:"size"`
		Compression int64  `json:"compression,omitempty"`
		MimeType    string `json:"mimeType"`
		Text        string `json:"text,omitempty"`
		Encoding    string `json:"encoding,omitempty"`
		Comment     string `json:"comment,omitempty"`
	}
	// harTimings are milliseconds; -1 is "does not apply".
	harTimings struct {
		Blocked float64 `json:"blocked"`
		DNS     float64 `json:"dns"`
		Connect float64 `json:"connect"`
		Send    float64 `json:"send"`
		Wait    float64 `json:"wait"`
		Receive float64 `json:"receive"`
		SSL     float64 `json:"ssl"`
	}
)

// harDecoded bounds a body that is decoded for people, in bytes; a longer one
// is written as it was.
const harDecoded = 4 << 20

// schemeTag remembers the scheme of an address that was not http.
const schemeTag = "url.scheme"

// harWriter writes the entries as they come. It writes only what the next
// reader, too, would make of the same pair, so that a file that was read is
// written again byte for byte.
type harWriter struct {
	w       io.Writer
	version string
	entries int
}

func (h *harWriter) begin() error {
	creator, err := marshal(struct {
		Name    string `json:"name"`
		Version string `json:"version"`
	}{"Weir", h.version})
	if err != nil {
		return fmt.Errorf("encode creator: %w", err)
	}
	if _, err := fmt.Fprintf(h.w, "{\"log\":{\"version\":\"1.2\",\"creator\":%s,\"pages\":[],\"entries\":[", creator); err != nil {
		return fmt.Errorf("write head: %w", err)
	}
	return nil
}

func (h *harWriter) Write(p Pair) error {
	e, err := harEntryOf(p.RRPair)
	if err != nil {
		return err
	}
	b, err := marshal(e)
	if err != nil {
		return fmt.Errorf("encode pair: %w", err)
	}
	between := ",\n"
	if h.entries == 0 {
		if err := h.begin(); err != nil {
			return err
		}
		between = "\n"
	}
	h.entries++
	if _, err := h.w.Write(append([]byte(between), b...)); err != nil {
		return fmt.Errorf("write pair: %w", err)
	}
	return nil
}

func (h *harWriter) Close() error {
	if h.entries == 0 {
		if err := h.begin(); err != nil {
			return err
		}
	}
	if _, err := io.WriteString(h.w, "\n]}}\n"); err != nil {
		return fmt.Errorf("write end: %w", err)
	}
	return nil
}

func harEntryOf(p *capturev1.RRPair) (*harEntry, error) {
	method, target, version, ok := requestLine(p.GetRequest().GetHead())
	if p.GetProtocol() != "http" || !ok {
		return nil, leftOut("HAR holds HTTP requests, and this pair has none")
	}
	req, resp, t := p.GetRequest(), p.GetResponse(), p.GetTiming()
	e := &harEntry{
		Started:    time.Unix(0, t.GetRequestFirst()).UTC().Format(time.RFC3339Nano),
		Timings:    timingsOf(t),
		Connection: strconv.FormatUint(p.GetConn(), 10),
	}
	e.Time = e.Timings.Send + e.Timings.Wait + e.Timings.Receive
	if a, err := netip.ParseAddrPort(p.GetServer()); err == nil {
		e.ServerIP = a.Addr().WithZone("").String()
	}
	e.Request = harRequest{
		Method: text(method), URL: harURL(p, target), HTTPVersion: text(version),
		Cookies: requestCookies(req.GetHead()), Headers: harFields(req.GetHead()),
		QueryString: queryString(p.GetQuery()),
		HeadersSize: int64(len(req.GetHead())), BodySize: int64(req.GetBodySize()),
		PostData: postData(req),
	}
	e.Response = harResponseOf(p, resp)
	e.Weir = documentOf(p)
	thin(e, p)
	return e, nil
}

// thin takes out of _weir what a reader gets from the entry's own members:
// who edits a header or a body there edits all that there is of it.
func thin(e *harEntry, p *capturev1.RRPair) {
	d := e.Weir
	if d.Request != nil {
		d.Request.Head, d.Request.Body = nil, nil
	}
	if d.Response != nil {
		d.Response.Head, d.Response.Body = nil, nil
	}
	d.About = nil
	back, err := e.pair()
	all := err != nil // what a reader would refuse is in _weir
	if all || back.GetMethod() != p.GetMethod() || back.GetHost() != p.GetHost() || back.GetPath() != p.GetPath() ||
		back.GetQuery() != p.GetQuery() || back.GetStatus() != p.GetStatus() {
		d.About = &About{p.GetMethod(), p.GetHost(), p.GetPath(), p.GetQuery(), p.GetStatus()}
	}
	thinMessage(d.Request, back.GetRequest(), p.GetRequest(), all)
	thinMessage(d.Response, back.GetResponse(), p.GetResponse(), all)
}

func thinMessage(d *messageDoc, back, m *capturev1.Message, all bool) {
	if d == nil {
		return
	}
	if all || !bytes.Equal(back.GetHead(), m.GetHead()) {
		head := blob(m.GetHead())
		d.Head = &head
	}
	if all || !bytes.Equal(back.GetBody(), m.GetBody()) {
		body := blob(m.GetBody())
		d.Body = &body
	}
}

// timingsOf splits the time from the request's first byte to the response's
// last; their sum is the entry's time.
func timingsOf(t *capturev1.Timing) harTimings {
	out := harTimings{Blocked: -1, DNS: -1, Connect: -1, SSL: -1}
	at := t.GetRequestFirst()
	if at == 0 {
		return out
	}
	until := func(moment int64) float64 {
		if moment <= at {
			return 0
		}
		ns := moment - at
		at = moment
		return float64(ns) / 1e6
	}
	sent := t.GetRequestLast()
	if first := t.GetResponseFirst(); first != 0 && first < sent {
		sent = first // the answer began before the request was whole
	}
	out.Send, out.Wait, out.Receive = until(sent), until(t.GetResponseFirst()), until(t.GetResponseLast())
	return out
}

// text makes wire bytes fit for JSON: what is not UTF-8 is replaced.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// harURL is the address that the request was for, as far as one can be
// written; it is always one that URL parsers take.
func harURL(p *capturev1.RRPair, target string) string {
	scheme := p.GetTags()[schemeTag]
	if scheme != "https" {
		scheme = "http"
	}
	if lower := strings.ToLower(target); strings.HasPrefix(lower, "http://") || strings.HasPrefix(lower, "https://") {
		if s := escapeURL(target); validURL(s) {
			return s
		}
	}
	host := ""
	if hosts := httphead.Values(p.GetRequest().GetHead(), "Host"); len(hosts) > 0 {
		host = hosts[0]
	}
	if !plainAuthority(host) {
		if host = p.GetServer(); !plainAuthority(host) {
			host = "unknown.invalid"
		}
	}
	if !strings.HasPrefix(target, "/") {
		target = "/" + target // * and host:port
	}
	if s := scheme + "://" + host + escapeURL(target); validURL(s) {
		return s
	}
	return scheme + "://" + host + "/"
}

func validURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Host != ""
}

// plainAuthority: a host, with a port or without, that can stand in a URL.
func plainAuthority(host string) bool {
	if host == "" || strings.ContainsFunc(host, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-._:[]", r))
	}) {
		return false
	}
	return validURL("http://" + host + "/")
}

// escapeURL escapes what may not stand in a URL (RFC 3986) and leaves the rest
// as it was, escapes too.
func escapeURL(s string) string {
	const also = "-._~:/?#[]@!$&'()*+,;="
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte(also, c) >= 0,
			c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func harFields(head []byte) []harField {
	out := []harField{}
	for f := range httphead.Fields(head) {
		out = append(out, harField{text(string(f.Name)), text(string(f.Value))})
	}
	return out
}

// queryString splits a query at its ampersands; what cannot be unescaped stays
// as it is.
func queryString(query string) []harField {
	out := []harField{}
	for part := range strings.SplitSeq(query, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		out = append(out, harField{unescaped(name), unescaped(value)})
	}
	return out
}

func unescaped(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		s = u
	}
	return text(s)
}

func requestCookies(head []byte) []harCookie {
	out := []harCookie{}
	for _, line := range httphead.Values(head, "Cookie") {
		for part := range strings.SplitSeq(line, ";") {
			if name, value, ok := strings.Cut(strings.TrimSpace(part), "="); ok {
				out = append(out, harCookie{Name: text(name), Value: text(value)})
			}
		}
	}
	return out
}

func responseCookies(head []byte) []harCookie {
	out := []harCookie{}
	for _, line := range httphead.Values(head, "Set-Cookie") {
		c, err := http.ParseSetCookie(line)
		if err != nil {
			continue // the header has it
		}
		cookie := harCookie{
			Name: text(c.Name), Value: text(c.Value), Path: text(c.Path), Domain: text(c.Domain), HTTPOnly: c.HttpOnly, Secure: c.Secure,
		}
		if !c.Expires.IsZero() {
			cookie.Expires = c.Expires.UTC().Format(time.RFC3339)
		}
		out = append(out, cookie)
	}
	return out
}

func mimeType(head []byte) string {
	if v := httphead.Values(head, "Content-Type"); len(v) > 0 {
		return text(v[0])
	}
	return ""
}

// postData is the request's body. HAR has no place for one that is not text:
// _weir has it then.
func postData(m *capturev1.Message) *harPostData {
	if m.GetBodySize() == 0 && len(m.GetBody()) == 0 {
		return nil
	}
	d := &harPostData{MimeType: mimeType(m.GetHead()), Params: []harField{}}
	if textual(m.GetBody()) {
		d.Text = string(m.GetBody())
	} else {
		d.Comment = "The body is not text; _weir.request.body has it."
	}
	if m.GetTruncated() {
		d.Comment = strings.TrimSpace(d.Comment + " " + truncatedComment(m))
	}
	return d
}

func truncatedComment(m *capturev1.Message) string {
	return fmt.Sprintf("Truncated: %d of %d bytes were captured.", len(m.GetBody()), m.GetBodySize())
}

func harResponseOf(p *capturev1.RRPair, m *capturev1.Message) harResponse {
	out := harResponse{
		Cookies: []harCookie{}, Headers: []harField{}, Content: harContent{MimeType: "x-unknown"},
		HeadersSize: -1, BodySize: -1, Error: p.GetError(),
	}
	if m == nil {
		return out
	}
	out.Status = p.GetStatus()
	if version, rest, ok := strings.Cut(startLine(m), " "); ok {
		_, reason, _ := strings.Cut(rest, " ")
		out.HTTPVersion, out.StatusText = text(version), text(reason)
	}
	out.Cookies, out.Headers = responseCookies(m.GetHead()), harFields(m.GetHead())
	out.HeadersSize, out.BodySize = int64(len(m.GetHead())), int64(m.GetBodySize())
	if v := httphead.Values(m.GetHead(), "Location"); len(v) > 0 {
		out.RedirectURL = text(v[0])
	}
	out.Content = harContentOf(m)
	return out
}

func startLine(m *capturev1.Message) string {
	line, _ := httphead.StartLine(m.GetHead())
	return string(line)
}

// harContentOf has the body as people want to see it, without content coding,
// where that can be undone.
func harContentOf(m *capturev1.Message) harContent {
	c := harContent{Size: int64(m.GetBodySize()), MimeType: mimeType(m.GetHead())}
	body := m.GetBody()
	if m.GetBodyDecoded() {
		c.Size = int64(len(body))
	} else if codings := bodycodec.Codings(httphead.Values(m.GetHead(), "Content-Encoding")...); len(codings) > 0 && len(body) > 0 && !m.GetTruncated() {
		if decoded, err := bodycodec.Decode(codings, body, harDecoded, 0); err == nil {
			body, c.Size = decoded, int64(len(decoded))
			c.Compression = c.Size - int64(m.GetBodySize())
		} else {
			c.Comment = "The body still has its content coding."
		}
	}
	if textual(body) {
		c.Text = string(body)
	} else {
		c.Text, c.Encoding = base64.StdEncoding.EncodeToString(body), "base64"
	}
	if m.GetTruncated() {
		c.Comment = truncatedComment(m)
	}
	return c
}
