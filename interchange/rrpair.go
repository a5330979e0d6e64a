package interchange

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/internal/bodycodec"
	"github.com/weir-capture/weir/internal/httphead"
)

// rrpairDoc is a pair in RRPair JSON, as far as its members mean something
// here. Header fields are a map there: their order and their spelling are
// lost, and so are the moments within an exchange.
type rrpairDoc struct {
	MsgType   string            `json:"msgType"`
	TS        string            `json:"ts"`
	Protocol  string            `json:"l7protocol"`
	Duration  float64           `json:"duration"` // milliseconds
	Tags      map[string]string `json:"tags,omitempty"`
	UUID      string            `json:"uuid"` // base64 of 16 bytes
	Direction string            `json:"direction"`
	Cluster   string            `json:"cluster"`
	Namespace string            `json:"namespace"`
	Service   string            `json:"service"`
	Command   string            `json:"command"`
	Location  string            `json:"location"`
	Status    string            `json:"status"`
	HTTP      *rrpairHTTP       `json:"http,omitempty"`
	NetInfo   *rrpairNet        `json:"netinfo,omitempty"`
	Modified  bool              `json:"dlpModified,omitempty"`
}

type rrpairHTTP struct {
	Req *rrpairRequest  `json:"req,omitempty"`
	Res *rrpairResponse `json:"res,omitempty"`
}

type rrpairRequest struct {
	URL        string              `json:"url"`
	URI        string              `json:"uri"`
	Version    string              `json:"version"`
	Method     string              `json:"method"`
	Host       string              `json:"host"`
	Headers    map[string][]string `json:"headers,omitempty"`
	Body       string              `json:"body,omitempty"`
	BodyBase64 string              `json:"bodyBase64,omitempty"`
}

type rrpairResponse struct {
	ContentType   string              `json:"contentType,omitempty"`
	StatusCode    int32               `json:"statusCode"`
	StatusMessage string              `json:"statusMessage,omitempty"`
	Headers       map[string][]string `json:"headers,omitempty"`
	Body          string              `json:"body,omitempty"`
	BodyBase64    string              `json:"bodyBase64,omitempty"`
}

type rrpairNet struct {
	ID         string      `json:"id,omitempty"`
	StartTime  string      `json:"startTime,omitempty"`
	Downstream *rrpairPeer `json:"downstream,omitempty"`
	Upstream   *rrpairPeer `json:"upstream,omitempty"`
}

type rrpairPeer struct {
	Established string  `json:"established,omitempty"`
	Hostname    string  `json:"hostname,omitempty"`
	IPAddress   string  `json:"ipAddress,omitempty"`
	Port        float64 `json:"port,omitempty"`
}

// Tags of RRPair that have a place of their own here.
const (
	tagApp       = "k8sAppLabel"
	tagPod       = "k8sAppPodName"
	tagNamespace = "k8sAppPodNamespace"
	tagCluster   = "k8sClusterName"
	tagProxyID   = "proxyId"
	tagSequence  = "sequence"
	// rrpairTag is before the names of those that have none.
	rrpairTag = "rrpair."
)

// defined is empty for what stands there for "no value".
func defined(v string) string {
	if v == "undefined" {
		return ""
	}
	return v
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v = defined(v); v != "" {
			return v
		}
	}
	return ""
}

func parseRRPair(line []byte) (*capturev1.RRPair, error) {
	var d rrpairDoc
	if err := json.Unmarshal(line, &d); err != nil {
		return nil, err
	}
	return d.pair()
}

func (d *rrpairDoc) pair() (*capturev1.RRPair, error) {
	if d.MsgType != "rrpair" {
		return nil, &wantError{"msgType is " + shown(d.MsgType), `"rrpair"`}
	}
	at, err := parseTime(d.TS)
	if err != nil {
		return nil, fmt.Errorf("ts: %w", err)
	}
	p := &capturev1.RRPair{
		Source: &capturev1.Source{
			Cluster: firstOf(d.Cluster, d.Tags[tagCluster]), Namespace: firstOf(d.Namespace, d.Tags[tagNamespace]),
			App: firstOf(d.Service, d.Tags[tagApp]), Pod: defined(d.Tags[tagPod]), ProxyId: defined(d.Tags[tagProxyID]),
		},
		Protocol: strings.ToLower(d.Protocol), Method: defined(d.Command), Path: defined(d.Location),
		Timing: &capturev1.Timing{RequestFirst: at}, Tags: d.tags(),
	}
	if d.UUID != "" {
		if p.Id, err = base64.StdEncoding.DecodeString(d.UUID); err != nil || len(p.Id) != 16 {
			return nil, &wantError{"uuid is " + shown(d.UUID), "base64 of 16 bytes"}
		}
	}
	switch strings.ToUpper(d.Direction) {
	case "IN":
		p.Direction = capturev1.Direction_DIRECTION_INBOUND
	case "OUT":
		p.Direction = capturev1.Direction_DIRECTION_OUTBOUND
	}
	if n, err := strconv.ParseUint(d.Tags[tagSequence], 10, 64); err == nil {
		p.Seq = n
	}
	if n, err := strconv.ParseInt(d.Status, 10, 32); err == nil {
		p.Status = int32(n)
	}
	if d.Modified {
		p.Flags = append(p.Flags, capturev1.Flag_FLAG_REDACTED)
	}
	if n := d.NetInfo; n != nil {
		p.Client, p.Server = n.Downstream.addr(), n.Upstream.addr()
		if n.Upstream != nil {
			p.Host = defined(n.Upstream.Hostname)
		}
	}
	answered := true
	if d.HTTP != nil {
		if answered, err = d.http(p); err != nil {
			return nil, err
		}
	}
	// A day bounds what a mistaken file says.
	if ms := d.Duration; answered && ms >= 0 && !math.IsNaN(ms) {
		p.Timing.ResponseLast = at + int64(min(ms, 86_400_000)*1e6)
	}
	return p, nil
}

// tags are those that have no place of their own, as many as fit.
func (d *rrpairDoc) tags() map[string]string {
	own := []string{tagApp, tagPod, tagNamespace, tagCluster, tagProxyID, tagSequence}
	tags := map[string]string{}
	if p := strings.ToLower(d.Protocol); p == "https" {
		tags[schemeTag] = p
	}
	for _, k := range slices.Sorted(maps.Keys(d.Tags)) {
		v := defined(d.Tags[k])
		if slices.Contains(own, k) || v == "" || len(tags) == maxTags || len(rrpairTag+k) > maxTag || len(v) > maxTag {
			continue
		}
		tags[rrpairTag+k] = v
	}
	if len(tags) == 0 {
		return nil
	}
	return tags
}

// addr is "ip:port" or, without an address, "name:port".
func (n *rrpairPeer) addr() string {
	if n == nil {
		return ""
	}
	host, port := defined(n.IPAddress), ""
	if host == "" {
		host = defined(n.Hostname)
	}
	if n.Port > 0 && n.Port < 1<<16 {
		port = strconv.Itoa(int(n.Port))
	}
	switch {
	case host == "":
		return ""
	case port == "":
		return host
	}
	return net.JoinHostPort(host, port)
}

// http fills in what an HTTP pair has; it reports whether there is a response.
func (d *rrpairDoc) http(p *capturev1.RRPair) (bool, error) {
	p.Protocol = "http"
	answered := false
	if q := d.HTTP.Req; q != nil {
		target := firstOf(q.URL, q.URI, d.Location, "/")
		if _, rest, ok := strings.Cut(target, "://"); ok {
			// An address: the path is what was asked for.
			if i := strings.IndexByte(rest, '/'); i >= 0 {
				target = rest[i:]
			} else {
				target = "/"
			}
		}
		p.Method, p.Host = firstOf(q.Method, d.Command), firstOf(q.Host, p.Host)
		p.Path, p.Query, _ = strings.Cut(target, "?")
		fields := rrpairFields(q.Headers)
		if p.Host != "" && !has(fields, "Host") {
			fields = append([]harField{{"Host", p.Host}}, fields...)
		}
		h, err := head(p.GetMethod()+" "+target+" "+rrpairVersion(q.Version), 3, fields)
		if err != nil {
			return false, err
		}
		if p.Request, err = rrpairMessage("http.req.bodyBase64", h, q.Body, q.BodyBase64); err != nil {
			return false, err
		}
	}
	if s := d.HTTP.Res; s != nil && s.StatusCode > 0 {
		answered = true
		p.Status = s.StatusCode
		version := "HTTP/1.1"
		if d.HTTP.Req != nil {
			version = rrpairVersion(d.HTTP.Req.Version)
		}
		reason := strings.TrimSpace(strings.TrimPrefix(defined(s.StatusMessage), strconv.Itoa(int(s.StatusCode))))
		h, err := head(fmt.Sprintf("%s %03d %s", version, s.StatusCode, reason), 2, rrpairFields(s.Headers))
		if err != nil {
			return false, err
		}
		if p.Response, err = rrpairMessage("http.res.bodyBase64", h, s.Body, s.BodyBase64); err != nil {
			return false, err
		}
	} else {
		p.Flags = append(p.Flags, capturev1.Flag_FLAG_NO_RESPONSE)
	}
	return answered, nil
}

func rrpairVersion(v string) string {
	switch v = defined(v); v {
	case "", "1.1":
		return "HTTP/1.1"
	case "2.0", "2":
		return "HTTP/2"
	case "3.0", "3":
		return "HTTP/3"
	}
	return "HTTP/" + strings.TrimPrefix(strings.ToUpper(v), "HTTP/")
}

// rrpairFields puts the map in order: Host, then by name.
func rrpairFields(m map[string][]string) []harField {
	names := slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		if ha, hb := strings.EqualFold(a, "Host"), strings.EqualFold(b, "Host"); ha != hb {
			if ha {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	var out []harField
	for _, name := range names {
		for _, v := range m[name] {
			out = append(out, harField{name, v})
		}
	}
	return out
}

func rrpairMessage(where string, head []byte, body, body64 string) (*capturev1.Message, error) {
	m := &capturev1.Message{Head: head, Body: []byte(body)}
	if body64 != "" {
		var err error
		if m.Body, err = decode64(where, body64); err != nil {
			return nil, err
		}
	}
	m.BodySize = uint64(len(m.Body))
	if codings := bodycodec.Codings(httphead.Values(head, "Content-Encoding")...); len(codings) > 0 && len(m.Body) > 0 {
		// Bodies are usually decoded there, although the field still stands.
		_, err := bodycodec.Decode(codings, m.Body, harDecoded, 0)
		m.BodyDecoded = err != nil
	}
	return m, nil
}

type rrpairWriter struct{ w io.Writer }

func (r *rrpairWriter) Write(p Pair) error {
	method, target, version, ok := requestLine(p.GetRequest().GetHead())
	if p.GetProtocol() != "http" || !ok {
		return leftOut("only HTTP pairs are written as RRPair JSON")
	}
	src, t := p.GetSource(), p.GetTiming()
	d := rrpairDoc{
		MsgType: "rrpair", TS: time.Unix(0, t.GetRequestFirst()).UTC().Format(time.RFC3339Nano), Protocol: "http",
		UUID: base64.StdEncoding.EncodeToString(p.GetId()), Cluster: src.GetCluster(), Namespace: src.GetNamespace(), Service: src.GetApp(),
		Command: text(method), Location: p.GetPath(), Status: strconv.Itoa(int(p.GetStatus())),
		Tags: map[string]string{tagSequence: strconv.FormatUint(p.GetSeq(), 10), "source": "weir"},
		HTTP: &rrpairHTTP{},
		NetInfo: &rrpairNet{
			ID:         strconv.FormatUint(p.GetConn(), 10),
			Downstream: peerOf(p.GetClient(), t.GetAccepted(), ""), Upstream: peerOf(p.GetServer(), t.GetConnected(), p.GetHost()),
		},
	}
	for k, v := range map[string]string{tagApp: src.GetApp(), tagPod: src.GetPod(), tagNamespace: src.GetNamespace(), tagCluster: src.GetCluster(), tagProxyID: src.GetProxyId()} {
		if v != "" {
			d.Tags[k] = v
		}
	}
	switch p.GetDirection() {
	case capturev1.Direction_DIRECTION_INBOUND:
		d.Direction, d.Tags["proxyLocation"] = "IN", "in"
	case capturev1.Direction_DIRECTION_OUTBOUND:
		d.Direction, d.Tags["proxyLocation"] = "OUT", "out"
	}
	if last := t.GetResponseLast(); last > t.GetRequestFirst() {
		d.Duration = math.Round(float64(last-t.GetRequestFirst()) / 1e6)
	}
	d.Modified = slices.Contains(p.GetFlags(), capturev1.Flag_FLAG_REDACTED)
	d.HTTP.Req = &rrpairRequest{
		URL: text(target), URI: text(target), Version: strings.TrimPrefix(text(version), "HTTP/"), Method: text(method), Host: p.GetHost(),
		Headers: headerMap(p.GetRequest().GetHead()), BodyBase64: base64.StdEncoding.EncodeToString(p.GetRequest().GetBody()),
	}
	if m := p.GetResponse(); m != nil {
		_, status, _ := strings.Cut(startLine(m), " ")
		d.HTTP.Res = &rrpairResponse{
			ContentType: mimeType(m.GetHead()), StatusCode: p.GetStatus(), StatusMessage: text(status),
			Headers: headerMap(m.GetHead()), BodyBase64: base64.StdEncoding.EncodeToString(m.GetBody()),
		}
	}
	return writeLine(r.w, d)
}

func (r *rrpairWriter) Close() error { return nil }

func peerOf(addr string, established int64, host string) *rrpairPeer {
	n := &rrpairPeer{Hostname: host}
	if a, err := netip.ParseAddrPort(addr); err == nil {
		n.IPAddress, n.Port = a.Addr().String(), float64(a.Port())
	}
	if established > 0 {
		n.Established = time.Unix(0, established).UTC().Format(time.RFC3339Nano)
	}
	return n
}

// headerMap has each name as it was spelled first.
func headerMap(head []byte) map[string][]string {
	m := map[string][]string{}
	spelled := map[string]string{}
	for f := range httphead.Fields(head) {
		name := text(string(f.Name))
		lower := strings.ToLower(name)
		if first, ok := spelled[lower]; ok {
			name = first
		} else {
			spelled[lower] = name
		}
		if utf8.ValidString(name) && name != "" {
			m[name] = append(m[name], text(string(f.Value)))
		}
	}
	return m
}
