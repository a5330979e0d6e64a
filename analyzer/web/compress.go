package web

import (
	"compress/gzip"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// compressFrom is how long an answer has to be, in bytes, to be worth it.
const compressFrom = 1 << 10

// encoder is one content coding at work.
type encoder interface {
	io.WriteCloser
	Flush() error
	Reset(io.Writer)
}

// codings are those that answers are written in, the best one first where a
// client likes several as much. Encoders are dear to make and kept.
type contentCoding struct {
	name string
	pool *sync.Pool
}

func newCodings() []contentCoding {
	pool := func(make func() encoder) *sync.Pool { return &sync.Pool{New: func() any { return make() }} }
	return []contentCoding{
		{"zstd", pool(func() encoder {
			// One goroutine's work, in a window that every browser takes.
			e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(512<<10), zstd.WithLowerEncoderMem(true))
			if err != nil {
				panic(err) // the options are constant
			}
			return e
		})},
		{"br", pool(func() encoder { return brotli.NewWriterOptions(nil, brotli.WriterOptions{Quality: 3, LGWin: 18}) })},
		{"gzip", pool(func() encoder {
			e, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
			if err != nil {
				panic(err) // the level is constant
			}
			return e
		})},
	}
}

// compress encodes what next answers as the client likes it best (RFC 9110,
// section 12.5.3). What is compressed already, and what is short, stays.
func compress(next http.Handler) http.Handler {
	codings := newCodings()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &compressed{ResponseWriter: w, coding: negotiate(codings, r.Header.Values("Accept-Encoding")), head: r.Method == http.MethodHead}
		next.ServeHTTP(c, r)
		// Not deferred: an answer that is cut off by a panic gets no end.
		c.finish()
	})
}

// negotiate is the coding to use; nil for none.
func negotiate(codings []contentCoding, accept []string) *contentCoding {
	weight := map[string]float64{}
	for item := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		name, params, _ := strings.Cut(item, ";")
		q := 1.0
		if v, ok := strings.CutPrefix(strings.TrimSpace(params), "q="); ok {
			var err error
			if q, err = strconv.ParseFloat(v, 64); err != nil {
				q = 0
			}
		}
		weight[strings.ToLower(strings.TrimSpace(name))] = q
	}
	var best *contentCoding
	most := 0.0
	for i := range codings {
		q, named := weight[codings[i].name]
		if !named {
			q = weight["*"]
		}
		if q > most {
			best, most = &codings[i], q
		}
	}
	if identity, named := weight["identity"]; named && identity > most {
		return nil
	}
	return best
}

// compressed decides when it knows enough of an answer.
type compressed struct {
	http.ResponseWriter
	coding *contentCoding
	head   bool

	status  int
	decided bool
	held    []byte  // what came before the decision
	enc     encoder // nil when the answer stays as it is
	failed  error
}

// Unwrap is for http.ResponseController.
func (c *compressed) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func (c *compressed) WriteHeader(status int) {
	if status >= 100 && status < 200 {
		c.ResponseWriter.WriteHeader(status)
		return
	}
	if c.status == 0 {
		c.status = status
	}
	if status == http.StatusNoContent || status == http.StatusNotModified || c.head {
		c.decide(false)
	}
}

func (c *compressed) Write(b []byte) (int, error) {
	if !c.decided {
		if len(c.held)+len(b) < compressFrom {
			c.held = append(c.held, b...)
			return len(b), nil
		}
		c.decide(true)
	}
	if c.failed != nil {
		return 0, c.failed
	}
	if c.enc == nil {
		return c.ResponseWriter.Write(b)
	}
	return c.enc.Write(b)
}

// Flush sends what there is; http.ResponseController calls it.
func (c *compressed) FlushError() error {
	if !c.decided {
		c.decide(true)
	}
	if c.enc != nil {
		if err := c.enc.Flush(); err != nil {
			return err
		}
	}
	return http.NewResponseController(c.ResponseWriter).Flush()
}

// decide writes the head, and what was held back.
func (c *compressed) decide(long bool) {
	c.decided = true
	h := c.Header()
	if compressible(h) {
		h.Add("Vary", "Accept-Encoding")
		if long && c.coding != nil && !c.head {
			c.enc = c.coding.pool.Get().(encoder)
			c.enc.Reset(c.ResponseWriter)
			h.Set("Content-Encoding", c.coding.name)
			h.Del("Content-Length")
			// The bytes differ between codings; what they stand for does not.
			if tag := h.Get("ETag"); tag != "" && !strings.HasPrefix(tag, "W/") {
				h.Set("ETag", "W/"+tag)
			}
		}
	}
	if c.status == 0 {
		c.status = http.StatusOK
	}
	c.ResponseWriter.WriteHeader(c.status)
	if len(c.held) > 0 {
		held := c.held
		c.held = nil
		_, c.failed = c.Write(held)
	}
}

func (c *compressed) finish() {
	if !c.decided {
		c.decide(false)
	}
	if c.enc == nil {
		return
	}
	// The reader went away if this fails.
	_ = c.enc.Close()
	c.enc.Reset(nil)
	c.coding.pool.Put(c.enc)
	c.enc = nil
}

// compressible: text of some kind that nobody has compressed.
func compressible(h http.Header) bool {
	if h.Get("Content-Encoding") != "" || h.Get("Content-Range") != "" {
		return false
	}
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		return false
	}
	return strings.HasPrefix(kind, "text/") && kind != "text/event-stream" || strings.HasSuffix(kind, "json")
}
