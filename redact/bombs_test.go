package redact_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/proto"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/redact"
)

// zeros packs n zeros, level times.
func zeros(tb testing.TB, n int64, level int) []byte {
	tb.Helper()
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		tb.Fatal(err)
	}
	chunk := make([]byte, 1<<20)
	for ; n > 0; n -= int64(len(chunk)) {
		_, _ = z.Write(chunk[:min(n, int64(len(chunk)))])
	}
	_ = z.Close()
	out := b.Bytes()
	for range level - 1 {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write(out)
		_ = z.Close()
		out = b.Bytes()
	}
	return out
}

// tenGigabytes is a gzip stream of 10 MB that gives 10 GB: a gzip file may be
// many members after another.
func tenGigabytes(tb testing.TB) []byte {
	member := zeros(tb, 64<<20, 1)
	var b bytes.Buffer
	for range 10 << 30 / (64 << 20) {
		b.Write(member)
	}
	return b.Bytes()
}

// zstdWindow is a zstd frame (RFC 8878, section 3.1.1) that asks for a window
// of 2 GiB and gives as much, in blocks of one repeated byte.
func zstdWindow() []byte {
	b := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3}
	for range 2 << 30 / (128 << 10) {
		block := uint32(128<<10)<<3 | 1<<1
		b = append(b, byte(block), byte(block>>8), byte(block>>16), 0)
	}
	return append(b, 1, 0, 0)
}

// memory runs f and gives what it took of memory above what was there before,
// as the kernel saw it; false where the kernel does not say.
func memory(tb testing.TB, f func()) (taken int64, ok bool) {
	tb.Helper()
	if raceDetector {
		f()
		return 0, false
	}
	debug.FreeOSMemory()
	// Within these bounds what is not needed any more is given back at once.
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(int64(m.Sys-m.HeapReleased) + 4<<20))
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		tb.Logf("memory is not looked at: %v", err)
		f()
		return 0, false
	}
	before := status(tb, "VmHWM:")
	f()
	return status(tb, "VmHWM:") - before, true
}

func status(tb testing.TB, name string) int64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err != nil {
				tb.Fatal(err)
			}
			return n << 10
		}
	}
	tb.Fatalf("no %s", name)
	return 0
}

// TestS24Bombs: bodies that are made to be larger than they look cost a bounded
// amount of memory, and are withheld with the reason.
func TestS24Bombs(t *testing.T) {
	coded := func(coding string, body []byte) *capturev1.RRPair {
		p := post("application/json", "")
		p.Request.Body, p.Request.BodySize = body, uint64(len(body))
		p.Request.Head = bytes.Replace(p.GetRequest().GetHead(), []byte("\r\n\r\n"), []byte("\r\nContent-Encoding: "+coding+"\r\n\r\n"), 1)
		return p
	}
	var br bytes.Buffer
	w := brotli.NewWriterOptions(&br, brotli.WriterOptions{Quality: 5, LGWin: 24})
	for range 256 / slower {
		_, _ = w.Write(make([]byte, 1<<20))
	}
	_ = w.Close()
	var zs bytes.Buffer
	zw, err := zstd.NewWriter(&zs)
	if err != nil {
		t.Fatal(err)
	}
	for range 256 / slower {
		_, _ = zw.Write(make([]byte, 1<<20))
	}
	_ = zw.Close()
	entities := `<!DOCTYPE a [<!ENTITY a "ha">`
	for i := range 20 {
		c := string(rune('b' + i))
		entities += "<!ENTITY " + c + ` "` + strings.Repeat("&"+string(rune('a'+i))+";", 10) + `">`
	}
	entities += "]><a password='x'>&u;</a>"
	parts := strings.Repeat("--xx\r\nContent-Disposition: form-data; name=a\r\n\r\nb\r\n", 1_000_000/slower) + "--xx--"
	var raw [10]byte
	binary.BigEndian.PutUint64(raw[:], 1<<40)
	for name, c := range map[string]struct {
		pair   *capturev1.RRPair
		reason string // empty: it may be kept
	}{
		"10 GB of gzip":      {coded("gzip", tenGigabytes(t)), redact.ReasonBudget},
		"zstd, window":       {coded("zstd", zstdWindow()), redact.ReasonBudget},
		"zstd":               {coded("zstd", zs.Bytes()), redact.ReasonBudget},
		"br":                 {coded("br", br.Bytes()), redact.ReasonBudget},
		"gzip, 10 levels":    {coded("gzip"+strings.Repeat(", gzip", 9), zeros(t, 1<<30/slower, 10)), redact.ReasonCoding},
		"gzip, 4 levels":     {coded("gzip, gzip, gzip, gzip", zeros(t, 1<<30/slower, 4)), redact.ReasonBudget},
		"gzip, gzip, …":      {coded(strings.TrimSuffix(strings.Repeat("gzip, ", 5000), ", "), []byte("x")), redact.ReasonCoding},
		"no gzip":            {coded("gzip", raw[:]), redact.ReasonCoding},
		"deep JSON":          {post("application/json", `{"password":1,"a":`+strings.Repeat("[", 1<<20)+strings.Repeat("]", 1<<20)+"}"), redact.ReasonBudget},
		"deep JSON, objects": {post("application/json", strings.Repeat(`{"token":`, 1<<17)+"1"+strings.Repeat("}", 1<<17)), redact.ReasonBudget},
		"XML entities":       {post("text/xml", entities), redact.ReasonMalformed},
		"deep XML":           {post("text/xml", strings.Repeat("<password>", 1<<17)), redact.ReasonBudget},
		"1e6 parts":          {post("multipart/form-data; boundary=xx", parts), ""},
		"secret parts":       {post("multipart/form-data; boundary=xx", strings.ReplaceAll(parts[:4<<20/slower], "name=a", "name=password")+"\r\n--xx--"), ""},
		"cookies":            {get("/", "Cookie: "+strings.Repeat("a=b; ", 20_000)), ""},
		"Set-Cookie fields":  {get("/", slices.Repeat([]string{"Set-Cookie: a=b"}, 10_000)...), ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := standard(t)
			kept := len(c.pair.GetRequest().GetBody()) + len(c.pair.GetRequest().GetHead())
			taken, ok := memory(t, func() { err = r.Redact(c.pair) })
			t.Logf("%d KiB of body and head: %d KiB of memory; %v; %.300s", kept>>10, taken>>10, err, receipts(c.pair))
			// What is rewritten is there twice for a moment, and grows by its tokens.
			most := int64(8 << 20)
			if c.reason == "" {
				most += 6 * int64(kept)
			}
			if ok && taken > most {
				t.Errorf("it took %d KiB", taken>>10)
			}
			if c.reason == "" {
				return
			}
			if len(c.pair.GetRequest().GetBody()) > 0 || !slices.Contains(c.pair.GetFlags(), capturev1.Flag_FLAG_WITHHELD) || !strings.Contains(receipts(c.pair), "withheld @ request.body = "+c.reason) {
				t.Errorf("%d bytes are left; flags %v; %s", proto.Size(c.pair), c.pair.GetFlags(), receipts(c.pair))
			}
		})
	}
}
