package interchange

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/reflect/protoreflect"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/query"
)

// documentVersion is the version of document. A reader takes what is not
// newer than itself.
const documentVersion = 1

// document is a pair as JSON, with everything in it: a line of JSONL, and the
// _weir of a HAR entry. Times are RFC 3339 with nanoseconds. What is 0 or
// empty is absent.
type document struct {
	V            int               `json:"v"`
	ID           string            `json:"id"`
	Source       *sourceDoc        `json:"source,omitempty"`
	ProxySeq     uint64            `json:"proxy_seq,omitempty"`
	Direction    string            `json:"direction,omitempty"`
	Protocol     string            `json:"protocol,omitempty"`
	Client       string            `json:"client,omitempty"`
	Server       string            `json:"server,omitempty"`
	Conn         uint64            `json:"conn"`
	Seq          uint64            `json:"seq"`
	*About                         // absent in a HAR entry that says the same in its own words
	Error        string            `json:"error,omitempty"`
	Timing       *timingDoc        `json:"timing,omitempty"`
	Request      *messageDoc       `json:"request,omitempty"`
	Response     *messageDoc       `json:"response,omitempty"`
	Flags        []string          `json:"flags,omitempty"`
	Tags         map[string]string `json:"tags,omitempty"`
	Redactions   []redactionDoc    `json:"redactions,omitempty"`
	SampleWeight uint32            `json:"sample_weight,omitempty"`
}

// About is what a pair is about. It is exported for encoding/json only.
type About struct {
	Method string `json:"method"`
	Host   string `json:"host"`
	Path   string `json:"path"`
	Query  string `json:"query"`
	Status int32  `json:"status"`
}

type sourceDoc struct {
	Cluster   string   `json:"cluster,omitempty"`
	Namespace string   `json:"namespace,omitempty"`
	App       string   `json:"app,omitempty"`
	Pod       string   `json:"pod,omitempty"`
	ProxyID   string   `json:"proxy_id,omitempty"`
	Epoch     hexBytes `json:"epoch,omitempty"`
}

type timingDoc struct {
	Accepted      moment `json:"accepted,omitempty"`
	Connected     moment `json:"connected,omitempty"`
	RequestFirst  moment `json:"request_first,omitempty"`
	RequestLast   moment `json:"request_last,omitempty"`
	ResponseFirst moment `json:"response_first,omitempty"`
	ResponseLast  moment `json:"response_last,omitempty"`
}

type messageDoc struct {
	Head        *blob      `json:"head,omitempty"`
	Body        *blob      `json:"body,omitempty"`
	Trailers    blob       `json:"trailers,omitempty"`
	BodySize    uint64     `json:"body_size,omitempty"`
	BodyHash    hexBytes   `json:"body_hash,omitempty"`
	WireSize    uint64     `json:"wire_size,omitempty"`
	Truncated   bool       `json:"truncated,omitempty"`
	Chunks      []chunkDoc `json:"chunks,omitempty"`
	Interim     []blob     `json:"interim,omitempty"`
	BodyDecoded bool       `json:"body_decoded,omitempty"`
}

type chunkDoc struct {
	Size uint64 `json:"size"`
	Line blob   `json:"line,omitempty"`
}

type redactionDoc struct {
	Rule     string `json:"rule"`
	Location string `json:"location"`
	Type     string `json:"type"`
	Count    uint32 `json:"count"`
}

// blob is bytes as JSON: a string where they are UTF-8, else {"base64": …}.
type blob []byte

type base64Doc struct {
	Base64 *string `json:"base64"`
}

func (b blob) MarshalJSON() ([]byte, error) {
	if textual(b) {
		return marshal(string(b))
	}
	out := append(make([]byte, 0, base64.StdEncoding.EncodedLen(len(b))+16), `{"base64":"`...)
	out = base64.StdEncoding.AppendEncode(out, b)
	return append(out, `"}`...), nil
}

func (b *blob) UnmarshalJSON(in []byte) error {
	var s string
	if len(in) > 0 && in[0] == '"' {
		err := json.Unmarshal(in, &s)
		*b = blob(s)
		return err
	}
	var enc base64Doc
	err := json.Unmarshal(in, &enc)
	if err != nil || enc.Base64 == nil {
		return errors.New(`bytes are neither text nor {"base64": "…"}`)
	}
	if *b, err = base64.StdEncoding.DecodeString(*enc.Base64); err != nil {
		return fmt.Errorf("base64: %w", err)
	}
	return nil
}

// hexBytes is bytes in hexadecimal digits.
type hexBytes []byte

func (b hexBytes) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, b), nil }

func (b *hexBytes) UnmarshalText(in []byte) (err error) {
	*b, err = hex.AppendDecode(nil, in)
	return err
}

// moment is Unix nanoseconds as RFC 3339.
type moment int64

func (m moment) MarshalText() ([]byte, error) {
	return time.Unix(0, int64(m)).UTC().AppendFormat(nil, time.RFC3339Nano), nil
}

func (m *moment) UnmarshalText(in []byte) error {
	t, err := parseTime(string(in))
	*m = moment(t)
	return err
}

// parseTime reads RFC 3339 as Unix nanoseconds.
func parseTime(v string) (int64, error) {
	t, err := time.Parse(time.RFC3339Nano, v)
	if err != nil {
		return 0, fmt.Errorf("%s is not a time in RFC 3339, such as 2026-11-23T12:00:00.5Z", shown(v))
	}
	// What 64 bits of nanoseconds hold begins in September 1677 and ends in
	// April 2262.
	if n := t.UnixNano(); time.Unix(0, n).Equal(t) {
		return n, nil
	}
	return 0, fmt.Errorf("%s is too far away for nanoseconds in 64 bits", shown(v))
}

// shown is a value of a file, short enough for an error.
func shown(v string) string {
	const most = 64
	if len(v) > most {
		return strconv.Quote(v[:most]) + "…"
	}
	return strconv.Quote(v)
}

// marshal is json.Marshal that leaves <, > and & as they are: nothing here is
// ever HTML.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte{'\n'}), nil
}

// documentOf shares the pair's bytes.
func documentOf(p *capturev1.RRPair) *document {
	d := &document{
		V: documentVersion, ID: query.FormatID(p.GetId()), ProxySeq: p.GetProxySeq(),
		Direction: enumName(p.GetDirection(), "DIRECTION_"), Protocol: p.GetProtocol(),
		Client: p.GetClient(), Server: p.GetServer(), Conn: p.GetConn(), Seq: p.GetSeq(),
		About: &About{p.GetMethod(), p.GetHost(), p.GetPath(), p.GetQuery(), p.GetStatus()},
		Error: p.GetError(), Request: messageDocOf(p.GetRequest()), Response: messageDocOf(p.GetResponse()),
		Tags: p.GetTags(), SampleWeight: p.GetSampleWeight(),
	}
	if s := p.GetSource(); s != nil {
		d.Source = &sourceDoc{s.GetCluster(), s.GetNamespace(), s.GetApp(), s.GetPod(), s.GetProxyId(), s.GetEpoch()}
	}
	if t := p.GetTiming(); t != nil {
		d.Timing = &timingDoc{
			moment(t.GetAccepted()), moment(t.GetConnected()), moment(t.GetRequestFirst()),
			moment(t.GetRequestLast()), moment(t.GetResponseFirst()), moment(t.GetResponseLast()),
		}
	}
	for _, f := range p.GetFlags() {
		d.Flags = append(d.Flags, enumName(f, "FLAG_"))
	}
	for _, r := range p.GetRedactions() {
		d.Redactions = append(d.Redactions, redactionDoc{r.GetRule(), r.GetLocation(), r.GetType(), r.GetCount()})
	}
	return d
}

func messageDocOf(m *capturev1.Message) *messageDoc {
	if m == nil {
		return nil
	}
	d := &messageDoc{
		Head: blobOf(m.GetHead()), Body: blobOf(m.GetBody()), Trailers: m.GetTrailers(),
		BodySize: m.GetBodySize(), BodyHash: m.GetBodyHash(), WireSize: m.GetWireSize(),
		Truncated: m.GetTruncated(), BodyDecoded: m.GetBodyDecoded(),
	}
	for _, c := range m.GetChunks() {
		d.Chunks = append(d.Chunks, chunkDoc{c.GetSize(), c.GetLine()})
	}
	for _, i := range m.GetInterim() {
		d.Interim = append(d.Interim, i)
	}
	return d
}

// blobOf is nil for no bytes.
func blobOf(b []byte) *blob {
	if len(b) == 0 {
		return nil
	}
	return (*blob)(&b)
}

func (b *blob) bytes() []byte {
	if b == nil {
		return nil
	}
	return *b
}

// pair is the inverse of documentOf.
func (d *document) pair() (*capturev1.RRPair, error) {
	if d.V < 1 || d.V > documentVersion {
		return nil, fmt.Errorf("v is %d, which this version of Weir does not know; want 1 to %d", d.V, documentVersion)
	}
	p := &capturev1.RRPair{
		ProxySeq: d.ProxySeq, Protocol: d.Protocol, Client: d.Client, Server: d.Server, Conn: d.Conn, Seq: d.Seq,
		Error: d.Error, Request: d.Request.message(), Response: d.Response.message(), Tags: d.Tags, SampleWeight: d.SampleWeight,
	}
	if d.ID != "" {
		id, err := parseID(d.ID)
		if err != nil {
			return nil, err
		}
		p.Id = id
	}
	if a := d.About; a != nil {
		p.Method, p.Host, p.Path, p.Query, p.Status = a.Method, a.Host, a.Path, a.Query, a.Status
	}
	if s := d.Source; s != nil {
		p.Source = &capturev1.Source{Cluster: s.Cluster, Namespace: s.Namespace, App: s.App, Pod: s.Pod, ProxyId: s.ProxyID, Epoch: s.Epoch}
	}
	if t := d.Timing; t != nil {
		p.Timing = &capturev1.Timing{
			Accepted: int64(t.Accepted), Connected: int64(t.Connected), RequestFirst: int64(t.RequestFirst),
			RequestLast: int64(t.RequestLast), ResponseFirst: int64(t.ResponseFirst), ResponseLast: int64(t.ResponseLast),
		}
	}
	direction, err := enumNumber(capturev1.Direction(0), "DIRECTION_", d.Direction, "direction")
	if err != nil {
		return nil, err
	}
	p.Direction = capturev1.Direction(direction)
	for _, name := range d.Flags {
		n, err := enumNumber(capturev1.Flag(0), "FLAG_", name, "flag")
		if err != nil {
			return nil, err
		}
		p.Flags = append(p.Flags, capturev1.Flag(n))
	}
	for _, r := range d.Redactions {
		p.Redactions = append(p.Redactions, &capturev1.Redaction{Rule: r.Rule, Location: r.Location, Type: r.Type, Count: r.Count})
	}
	return p, nil
}

func (d *messageDoc) message() *capturev1.Message {
	if d == nil {
		return nil
	}
	m := &capturev1.Message{
		Head: d.Head.bytes(), Body: d.Body.bytes(), Trailers: d.Trailers,
		BodySize: d.BodySize, BodyHash: d.BodyHash, WireSize: d.WireSize, Truncated: d.Truncated, BodyDecoded: d.BodyDecoded,
	}
	for _, c := range d.Chunks {
		m.Chunks = append(m.Chunks, &capturev1.Chunk{Size: c.Size, Line: c.Line})
	}
	for _, i := range d.Interim {
		m.Interim = append(m.Interim, i)
	}
	return m
}

func parseID(v string) ([]byte, error) {
	id, err := uuid.Parse(v)
	if err != nil || len(v) != 36 {
		return nil, fmt.Errorf("id %s is not a UUID such as 01997b2c-6d3f-7c44-9d6e-2f6a31c0b8aa", shown(v))
	}
	return id[:], nil
}

// enumName is the last part of a value's name in lower case, its number where
// it has no name, and empty for 0.
func enumName(e protoreflect.Enum, prefix string) string {
	n := e.Number()
	if n == 0 {
		return ""
	}
	if v := e.Descriptor().Values().ByNumber(n); v != nil {
		return strings.ToLower(strings.TrimPrefix(string(v.Name()), prefix))
	}
	return strconv.Itoa(int(n))
}

func enumNumber(e protoreflect.Enum, prefix, name, what string) (protoreflect.EnumNumber, error) {
	if name == "" {
		return 0, nil
	}
	if v := e.Descriptor().Values().ByName(protoreflect.Name(prefix + strings.ToUpper(name))); v != nil {
		return v.Number(), nil
	}
	n, err := strconv.ParseInt(name, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("there is no %s %s", what, shown(name))
	}
	return protoreflect.EnumNumber(n), nil
}
