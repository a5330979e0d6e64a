package bodycodec_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/weir-capture/weir/internal/bodycodec"
)

// encode applies one coding; "raw" is deflate without the zlib format.
func encode(tb testing.TB, coding string, body []byte) []byte {
	tb.Helper()
	var buf bytes.Buffer
	var w io.WriteCloser
	var err error
	switch coding {
	case "gzip":
		w = gzip.NewWriter(&buf)
	case "deflate":
		w = zlib.NewWriter(&buf)
	case "raw":
		w, err = flate.NewWriter(&buf, 6)
	case "br":
		w = brotli.NewWriter(&buf)
	case "zstd":
		w, err = zstd.NewWriter(&buf, zstd.WithEncoderConcurrency(1))
	default:
		tb.Fatalf("no coding %q", coding)
	}
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := w.Write(body); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return buf.Bytes()
}

// name is what a Content-Encoding header says for a coding of encode.
func name(coding string) string { return strings.Replace(coding, "raw", "deflate", 1) }

// prose is text that compresses, but not to nothing.
func prose(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	words := []string{"card", "declined", "cart", "price", "sku", "{", "}", ":", "\n"}
	var b bytes.Buffer
	for b.Len() < n {
		b.WriteString(words[r.IntN(len(words))])
	}
	return b.Bytes()[:n]
}

var codings = []string{"gzip", "deflate", "raw", "br", "zstd"}

func TestRoundTrip(t *testing.T) {
	for _, coding := range codings {
		for _, n := range []int{0, 1, 100, 300_000} {
			body := prose(n)
			got, err := bodycodec.Decode([]string{name(coding)}, encode(t, coding, body), 1<<20, 1000)
			if err != nil || !bytes.Equal(got, body) {
				t.Errorf("%s of %d bytes: %d bytes, %v", coding, n, len(got), err)
			}
		}
	}
}

// TestForeign decodes what other programs made of the same line: gzip 1.12,
// zstd 1.5, Python's zlib and Node's brotli.
func TestForeign(t *testing.T) {
	for _, test := range []struct{ coding, encoded string }{
		{"gzip", "1f8b0800000000000003cb48cdc9c9d751c800515c00db25261f0d000000"},
		{"x-gzip", "1f8b0800000000000003cb48cdc9c9d751c800515c00db25261f0d000000"},
		{"zstd", "28b52ffd045869000068656c6c6f2c2068656c6c6f0a0053b3b7"},
		{"deflate", "789ccb48cdc9c9d751c800515c002159047f"},
		{"deflate", "cb48cdc9c9d751c800515c00"},
		{"br", "0b068068656c6c6f2c2068656c6c6f0a03"},
	} {
		b, err := hex.DecodeString(test.encoded)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := bodycodec.Decode([]string{test.coding}, b, 1<<20, 0); err != nil || string(got) != "hello, hello\n" {
			t.Errorf("%s: %q, %v", test.coding, got, err)
		}
	}
}

func TestCodings(t *testing.T) {
	for _, test := range []struct {
		values, want []string
	}{
		{nil, nil},
		{[]string{""}, nil},
		{[]string{"identity"}, nil},
		{[]string{"GZip"}, []string{"gzip"}},
		{[]string{"deflate, gzip"}, []string{"deflate", "gzip"}},
		{[]string{"a ,\tb", ",c,"}, []string{"a", "b", "c"}},
	} {
		if got := bodycodec.Codings(test.values...); !slices.Equal(got, test.want) {
			t.Errorf("%q: got %q, want %q", test.values, got, test.want)
		}
	}
}

func TestSeveralCodings(t *testing.T) {
	body := prose(10_000)
	encoded := encode(t, "zstd", encode(t, "br", encode(t, "gzip", body)))
	got, err := bodycodec.Decode([]string{"gzip, br", "zstd"}, encoded, 1<<20, 0)
	if err != nil || !bytes.Equal(got, body) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestIdentity(t *testing.T) {
	body := []byte("as it is")
	for _, codings := range [][]string{nil, {"identity"}, {""}} {
		if got, err := bodycodec.Decode(codings, body, 100, 1); err != nil || string(got) != string(body) {
			t.Errorf("%q: %q, %v", codings, got, err)
		}
	}
	if got, err := bodycodec.Decode(nil, body, 5, 1); !errors.Is(err, bodycodec.ErrLimit) || string(got) != "as it" {
		t.Errorf("beyond the limit: %q, %v", got, err)
	}
	if got, err := bodycodec.Decode([]string{"gzip"}, nil, 5, 1); err != nil || len(got) != 0 {
		t.Errorf("no body: %q, %v", got, err)
	}
}

func TestUnknownCoding(t *testing.T) {
	for _, codings := range [][]string{{"rot13"}, {"gzip", "rot13"}, {"rot13", "gzip"}, {"gzip, gzip, gzip, gzip, gzip"}} {
		got, err := bodycodec.Decode(codings, encode(t, "gzip", []byte("x")), 100, 0)
		if e, ok := errors.AsType[*bodycodec.UnknownCodingError](err); !ok || e.Coding == "" || len(got) > 0 {
			t.Errorf("%q: %q, %v", codings, got, err)
		}
	}
}

// TestTruncated: a body that is cut anywhere gives the beginning of its text
// and says so.
func TestTruncated(t *testing.T) {
	for _, coding := range codings {
		body, step := prose(5_000), 1
		if coding == "zstd" {
			// It comes in blocks of 128 KiB, of which none is given in part.
			body, step = prose(400_000), 1_999
		}
		encoded := encode(t, coding, body)
		longest := 0
		for n := 1; n < len(encoded); n += step {
			got, err := bodycodec.Decode([]string{name(coding)}, encoded[:n], 1<<20, 0)
			if !errors.Is(err, bodycodec.ErrTruncated) {
				// What is missing may be a checksum or the end mark of an
				// empty block; then all of the text must be there.
				if err != nil || !bytes.Equal(got, body) {
					t.Fatalf("%s, %d of %d bytes: %d bytes, %v", coding, n, len(encoded), len(got), err)
				}
			}
			if !bytes.HasPrefix(body, got) {
				t.Fatalf("%s, %d of %d bytes: not a prefix", coding, n, len(encoded))
			}
			longest = max(longest, len(got))
		}
		if longest < len(body)/2 {
			t.Errorf("%s: at most %d of %d bytes of a cut body", coding, longest, len(body))
		}
	}
}

func TestLimit(t *testing.T) {
	body := prose(100_000)
	for _, coding := range codings {
		encoded := encode(t, coding, body)
		for _, limit := range []int64{0, 1, 99_999} {
			got, err := bodycodec.Decode([]string{name(coding)}, encoded, limit, 0)
			if !errors.Is(err, bodycodec.ErrLimit) || !bytes.Equal(got, body[:limit]) {
				t.Errorf("%s to %d: %d bytes, %v", coding, limit, len(got), err)
			}
		}
		got, err := bodycodec.Decode([]string{name(coding)}, encoded, 100_000, 0)
		if err != nil || !bytes.Equal(got, body) {
			t.Errorf("%s to exactly its size: %d bytes, %v", coding, len(got), err)
		}
	}
}

// TestBomb: neither much output nor much work comes of few bytes.
func TestBomb(t *testing.T) {
	zeros := make([]byte, 8<<20)
	for _, coding := range codings {
		encoded := encode(t, coding, zeros)
		got, err := bodycodec.Decode([]string{name(coding)}, encoded, 1<<30, 10)
		if want := max(64<<10, 10*len(encoded)); !errors.Is(err, bodycodec.ErrLimit) || len(got) != want {
			t.Errorf("%s: %d bytes, want %d; %v", coding, len(got), want, err)
		}
	}
	// Five MiB of empty stored blocks, which give nothing: only the stage
	// between the codings grows.
	empty := bytes.Repeat([]byte{0, 0, 0, 0xff, 0xff}, 1<<20)
	got, err := bodycodec.Decode([]string{"deflate", "gzip"}, encode(t, "gzip", empty), 1<<20, 100)
	if !errors.Is(err, bodycodec.ErrLimit) || len(got) != 0 {
		t.Errorf("empty blocks: %d bytes, %v", len(got), err)
	}
}

// TestWindow: a frame that asks for a huge window is refused.
func TestWindow(t *testing.T) {
	// Magic, a descriptor without content size, a window of 2 GiB, and an
	// empty last block (RFC 8878, section 3.1.1).
	frame := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00}
	if got, err := bodycodec.Decode([]string{"zstd"}, frame, 1<<20, 0); !errors.Is(err, bodycodec.ErrLimit) || len(got) != 0 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestMalformed(t *testing.T) {
	for _, coding := range []string{"gzip", "br", "zstd", "deflate"} {
		got, err := bodycodec.Decode([]string{coding}, []byte("\xff\xfe plainly something else"), 1<<20, 0)
		if !errors.Is(err, bodycodec.ErrMalformed) {
			t.Errorf("%s: %d bytes, %v", coding, len(got), err)
		}
	}
	body := prose(1000)
	got, err := bodycodec.Decode([]string{"gzip"}, append(encode(t, "gzip", body), "garbage behind it"...), 1<<20, 0)
	if !errors.Is(err, bodycodec.ErrMalformed) || !bytes.Equal(got, body) {
		t.Errorf("garbage behind the end: %d bytes, %v", len(got), err)
	}
	got, err = bodycodec.Decode([]string{"gzip"}, append(encode(t, "gzip", body), encode(t, "gzip", body)...), 1<<20, 0)
	if err != nil || !bytes.Equal(got, append(body, body...)) {
		t.Errorf("two members: %d bytes, %v", len(got), err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, coding := range codings {
		f.Add(name(coding), encode(f, coding, []byte("hello, hello, hello")))
	}
	f.Add("gzip, br", encode(f, "br", encode(f, "gzip", []byte("twice"))))
	f.Add("identity", []byte("plain"))
	f.Fuzz(func(t *testing.T, coding string, body []byte) {
		const limit = 256 << 10
		got, err := bodycodec.Decode([]string{coding}, body, limit, 100)
		if len(got) > limit || len(got) > max(len(body), 64<<10, 100*len(body)) {
			t.Fatalf("%d bytes of %d", len(got), len(body))
		}
		if _, unknown := errors.AsType[*bodycodec.UnknownCodingError](err); err != nil && !unknown &&
			!errors.Is(err, bodycodec.ErrLimit) && !errors.Is(err, bodycodec.ErrTruncated) && !errors.Is(err, bodycodec.ErrMalformed) {
			t.Fatalf("unnamed error %v", err)
		}
		again, againErr := bodycodec.Decode([]string{coding}, body, limit, 100)
		if !bytes.Equal(got, again) || (err == nil) != (againErr == nil) {
			t.Fatalf("second time %d bytes, %v; first %d, %v", len(again), againErr, len(got), err)
		}
	})
}
