package interchange

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// write makes a file of pairs, and counts those that are left out.
func write(t testing.TB, f Format, pairs ...*capturev1.RRPair) ([]byte, int) {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(f, &b, "v1")
	if err != nil {
		t.Fatal(err)
	}
	left := 0
	for _, p := range pairs {
		err := w.Write(Pair{RRPair: p, Endpoint: "/e"})
		if errors.Is(err, ErrLeftOut) {
			left++
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), left
}

// read takes a file that has no mistakes.
func read(t testing.TB, f Format, file []byte) []*capturev1.RRPair {
	t.Helper()
	var out []*capturev1.RRPair
	for p, err := range Read(f, bytes.NewReader(file), Limits{}) {
		if err != nil {
			t.Fatalf("%v\n%s", err, file)
		}
		out = append(out, p)
	}
	return out
}

func equal(t testing.TB, what string, got, want []*capturev1.RRPair) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d pairs, want %d", what, len(got), len(want))
	}
	for i := range want {
		if !proto.Equal(got[i], want[i]) {
			t.Fatalf("%s: pair %d\n got %v\nwant %v", what, i, got[i], want[i])
		}
	}
}

// fill gives every field of a message a value, so that one that is added to
// the pair and forgotten here is noticed.
func fill(r *rand.Rand, m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		value := func() protoreflect.Value {
			switch f.Kind() {
			case protoreflect.BytesKind:
				b := make([]byte, 16)
				if f.Name() == "id" || f.Name() == "epoch" || f.Name() == "body_hash" || r.IntN(2) == 0 {
					for i := range b {
						b[i] = byte(r.IntN(256))
					}
				} else {
					copy(b, "text <&> \x00\u202e\"\\\n")
				}
				return protoreflect.ValueOfBytes(b)
			case protoreflect.StringKind:
				return protoreflect.ValueOfString(fmt.Sprintf("%s\u2028\x1b<%d>", f.Name(), r.IntN(100)))
			case protoreflect.EnumKind:
				return protoreflect.ValueOfEnum(protoreflect.EnumNumber(1 + r.IntN(30))) // some have no name
			case protoreflect.BoolKind:
				return protoreflect.ValueOfBool(true)
			case protoreflect.Uint64Kind:
				return protoreflect.ValueOfUint64(r.Uint64() | 1<<20)
			case protoreflect.Uint32Kind:
				return protoreflect.ValueOfUint32(r.Uint32() | 1)
			case protoreflect.Int32Kind:
				return protoreflect.ValueOfInt32(r.Int32() | 1)
			case protoreflect.Int64Kind:
				return protoreflect.ValueOfInt64(r.Int64() | 1)
			}
			panic("fill: " + f.Kind().String())
		}
		switch {
		case f.IsMap():
			mp := m.Mutable(f).Map()
			mp.Set(protoreflect.ValueOfString("tls.sni").MapKey(), protoreflect.ValueOfString("a.example"))
			mp.Set(protoreflect.ValueOfString("b").MapKey(), protoreflect.ValueOfString(""))
		case f.IsList() && f.Kind() == protoreflect.MessageKind:
			for range 2 {
				fill(r, m.Mutable(f).List().AppendMutable().Message())
			}
		case f.IsList():
			for range 2 {
				m.Mutable(f).List().Append(value())
			}
		case f.Kind() == protoreflect.MessageKind:
			fill(r, m.Mutable(f).Message())
		default:
			m.Set(f, value())
		}
	}
}

func TestJSONLIsLossless(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	pairs := []*capturev1.RRPair{
		{Id: bytes.Repeat([]byte{1}, 16)},
		{Id: bytes.Repeat([]byte{2}, 16), Source: &capturev1.Source{}, Timing: &capturev1.Timing{}, Request: &capturev1.Message{}},
	}
	for range 50 {
		p := &capturev1.RRPair{}
		fill(r, p.ProtoReflect())
		pairs = append(pairs, p)
	}
	file, left := write(t, JSONL, pairs...)
	if left != 0 || bytes.Count(file, []byte{'\n'}) != len(pairs) {
		t.Errorf("%d left out, %d lines of %d", left, bytes.Count(file, []byte{'\n'}), len(pairs))
	}
	got := read(t, JSONL, file)
	equal(t, "JSONL", got, pairs)
	if again, _ := write(t, JSONL, got...); !bytes.Equal(again, file) {
		t.Error("export, import, export is another file")
	}
}

// exchange is an HTTP pair that is captured whole.
func exchange(n int, change ...func(*capturev1.RRPair)) *capturev1.RRPair {
	at := int64(1_800_000_000_123_456_789) + int64(n)*1e9
	reqHead := fmt.Sprintf("POST /orders/%d?a=1&b=%%20x HTTP/1.1\r\nHost: shop.example:8080\r\ncookie: s=1; t=2\r\nX-One: 1\r\nx-one: 2\r\n\r\n", n)
	respHead := "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nSet-Cookie: a=b; Path=/; HttpOnly\r\n\r\n"
	id := bytes.Repeat([]byte{0x70}, 16)
	id[15] = byte(n)
	p := &capturev1.RRPair{
		Id: id, ProxySeq: uint64(n + 1), Direction: capturev1.Direction_DIRECTION_INBOUND, Protocol: "http",
		Source: &capturev1.Source{Cluster: "c", Namespace: "ns", App: "shop", Pod: "pod-1", ProxyId: "pod-1", Epoch: make([]byte, 16)},
		Client: "10.0.0.1:5000", Server: "10.0.0.2:8080", Conn: 3, Seq: uint64(n),
		Method: "POST", Host: "shop.example:8080", Path: fmt.Sprintf("/orders/%d", n), Query: "a=1&b=%20x", Status: 200,
		Timing:   &capturev1.Timing{Accepted: at - 9, Connected: at - 5, RequestFirst: at, RequestLast: at + 1_000_001, ResponseFirst: at + 4_000_003, ResponseLast: at + 9_000_007},
		Request:  &capturev1.Message{Head: []byte(reqHead), Body: []byte(`{"q":"ü<"}`), BodySize: 11, WireSize: uint64(len(reqHead) + 11)},
		Response: &capturev1.Message{Head: []byte(respHead), Body: []byte("{}"), BodySize: 2, BodyHash: bytes.Repeat([]byte{9}, 16), WireSize: uint64(len(respHead) + 2)},
	}
	for _, c := range change {
		c(p)
	}
	return p
}

// TestLimits: an entry beyond a limit is named and left, the others come.
func TestS19Limits(t *testing.T) {
	good, _ := write(t, JSONL, exchange(1))
	deep := strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000)
	file := string(good) + "\n" + strings.Repeat("x", 9000) + "\n{\"v\":1,\"flags\":[" + strings.Repeat(`"gap",`, 300) + "\"gap\"]}\n" +
		`{"v":1,"x":` + deep + "}\r\n" + string(bytes.TrimSuffix(good, []byte{'\n'}))
	var got []string
	for p, err := range Read(JSONL, iotest.OneByteReader(strings.NewReader(file)), Limits{EntryBytes: 8192, Values: 200}) {
		if err != nil {
			got = append(got, err.Error())
			continue
		}
		got = append(got, p.GetPath())
	}
	want := []string{
		"/orders/1", "line 3: it is too long; want at most 8192 bytes", "line 4: it consists of 304 JSON values; want at most 200",
		"line 5: it is too long; want at most 8192 bytes", "/orders/1",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("\n got %q\nwant %q", got, want)
	}
	for _, err := range Read(JSONL, strings.NewReader(`{"v":1,"x":`+deep+"}"), Limits{}) {
		if err == nil || !strings.Contains(err.Error(), "depth") {
			t.Errorf("20,000 levels: %v", err)
		}
	}
}

// TestS19Mistakes: each says where it is, what is wrong and what would be right.
func TestS19Mistakes(t *testing.T) {
	har := func(entry string) string {
		return `{"log":{"version":"1.2","entries":[` + entry + `,{"startedDateTime":"2026-11-23T12:00:00Z","request":{"method":"GET","url":"http://a/ok"},"response":{"status":204}}]}}`
	}
	for _, c := range []struct {
		format     Format
		file, want string
	}{
		{JSONL, "{\"v\":1}\n{", "line 2: it is not JSON: unexpected end of JSON input, at byte 1 of it; want one JSON object"},
		{JSONL, "[]", "line 1: it is a JSON array; want a JSON object"},
		{JSONL, "\n\n{\"v\":9}", "line 3: v is 9, which this version of Weir does not know; want 1 to 1"},
		{JSONL, "{\"v\":1,\"id\":\"7\"}", `line 1: id "7" is not a UUID such as`},
		{JSONL, "{\"v\":1,\"status\":\"ok\"}", "line 1: status is a JSON string; want a JSON number (int32)"},
		{JSONL, "{\"v\":1,\"flags\":[\"odd\"]}", `line 1: there is no flag "odd"`},
		{JSONL, "{\"v\":1,\"request\":{\"body\":\"abc\"}}", "line 1: a body has 3 bytes and a body_size of 0; want a size that is not less"},
		{JSONL, "{\"v\":1,\"request\":{\"head\":{\"base64\":\"?\"}}}", "line 1: base64: illegal base64 data"},
		{JSONL, "{\"v\":1,\"timing\":{\"accepted\":\"noon\"}}", `line 1: "noon" is not a time in RFC 3339`},
		{JSONL, "{\"v\":1,\"timing\":{\"accepted\":\"1066-10-14T00:00:00Z\"}}", "too far away"},
		{JSONL, "{\"v\":1,\"timing\":{\"accepted\":\"1950-10-14T00:00:00Z\"}}", "before 1970"},
		{RRPair, "{\"msgType\":\"x\"}", `line 1: msgType is "x"; want "rrpair"`},
		{RRPair, "{\"msgType\":\"rrpair\",\"ts\":\"2026-11-23T12:00:00Z\",\"uuid\":\"aa\"}", "want base64 of 16 bytes"},
		{RRPair, "{\"msgType\":\"rrpair\",\"ts\":\"2026-11-23T12:00:00Z\",\"http\":{\"req\":{\"url\":\"/a b\"}}}", "is not one of HTTP"},
		{HAR, "", "entry 1: the file ends within it, at byte 0; want a whole HAR file"},
		{HAR, "hello", "entry 1: the file is not JSON from byte 0 on"},
		{HAR, "[1]", "entry 0: at byte 1 is no JSON object"},
		{HAR, `{"log":{"version":"1.2"}}`, "the file has no log.entries"},
		{HAR, `{"log":{"entries":{}}}`, "log.entries is no JSON array"},
		{HAR, har(`{"request":{"url":"x"}}`), "entry 1: it has no request.method or no request.url; want an entry of HAR 1.2"},
		{HAR, har(`{"request":{"method":"GET","url":"http://a/"}}`), "entry 1: startedDateTime: \"\" is not a time"},
		{HAR, har(`{"startedDateTime":"2026-11-23T12:00:00Z","request":{"method":"GET","url":"http://a/","headers":[{"name":"a b","value":""}]}}`), `entry 1: the header name "a b" is not one of HTTP`},
		{HAR, har(`{"startedDateTime":"2026-11-23T12:00:00Z","request":{"method":"GET","url":"http://a/"},"response":{"status":200,"content":{"encoding":"base64","text":"?"}}}`), "entry 1: response.content.text: illegal base64"},
		{HAR, har(`7`), "entry 1: it is a JSON number; want a JSON object"},
		{HAR, strings.TrimSuffix(har(`{}`), "]}}"), "entry 3: the file ends within it"},
		{HAR, har(`{}`) + "\n" + har(`{}`), "something follows the end of the HAR"},
		{JSONL, "{\"v\":1,\"timing\":{\"accepted\":\"2262-04-11T23:47:16.854775807Z\"}}", "line 1: a time is the last"},
	} {
		var errs []string
		paths := ""
		for p, err := range Read(c.format, strings.NewReader(c.file), Limits{}) {
			wrong, ok := errors.AsType[*EntryError](err)
			if err != nil && !ok {
				t.Errorf("%s %q: %v is no EntryError", c.format, c.file, err)
			} else if err != nil {
				errs = append(errs, wrong.Error())
			} else {
				paths += p.GetPath()
			}
		}
		if len(errs) == 0 || !strings.Contains(strings.Join(errs, "\n"), c.want) {
			t.Errorf("%s %q\n got %q\nwant %q", c.format, c.file, errs, c.want)
		}
		if strings.Contains(c.file, "http://a/ok") && paths != "/ok" {
			t.Errorf("%s %q: what is behind the mistake gave %q", c.format, c.file, paths)
		}
	}
}

// TestMistakesAreShort: what is said of a mistake does not grow with it.
func TestMistakesAreShort(t *testing.T) {
	for _, err := range Read(JSONL, strings.NewReader(`{"v":1,"status":`+strings.Repeat("7", 1<<20)+"}"), Limits{}) {
		if wrong, ok := errors.AsType[*EntryError](err); !ok || len(wrong.Message) > 1024 || !strings.Contains(wrong.Message, "status is a JSON number 777") {
			t.Errorf("%.2000v", err)
		}
	}
}

// TestReadFails: what the file's source says is not taken for a mistake in it.
func TestReadFails(t *testing.T) {
	broken := errors.New("cable cut")
	for _, f := range Readable {
		file, _ := write(t, f, exchange(1), exchange(2))
		var last error
		for _, err := range Read(f, io.MultiReader(bytes.NewReader(file[:len(file)-9]), iotest.ErrReader(broken)), Limits{}) {
			last = err
		}
		if !errors.Is(last, broken) {
			t.Errorf("%s: %v", f, last)
		}
	}
}

// TestMadeIDs: the same file gives the same ids, and two entries that are
// equal stay two.
func TestMadeIDs(t *testing.T) {
	const entry = `{"startedDateTime":"2026-11-23T12:00:00Z","request":{"method":"GET","url":"http://a/"},"response":{"status":200}}`
	file := []byte(`{"log":{"entries":[` + entry + `,` + entry + `]}}`)
	a, b := read(t, HAR, file), read(t, HAR, file)
	equal(t, "again", b, a)
	if ID(a[0]) == ID(a[1]) || !strings.HasPrefix(ID(a[0]), "019aafa5-fa00-7") && ID(a[0])[14] != '7' {
		t.Errorf("ids %s and %s", ID(a[0]), ID(a[1]))
	}
}

// TestStopsEarly: a consumer may stop, and nothing is read for it any more.
func TestStopsEarly(t *testing.T) {
	for _, f := range Readable {
		file, _ := write(t, f, exchange(1), exchange(2))
		n := 0
		for range Read(f, bytes.NewReader(file), Limits{}) {
			n++
			break
		}
		if n != 1 {
			t.Errorf("%s: %d", f, n)
		}
	}
	var seq iter.Seq2[*capturev1.RRPair, error] = Read("pcap", nil, Limits{})
	for _, err := range seq {
		if err == nil || !strings.Contains(err.Error(), "want har, jsonl or rrpair") {
			t.Error(err)
		}
	}
	if _, err := NewWriter("pcap", io.Discard, ""); err == nil {
		t.Error("there is a writer for pcap")
	}
}
