// Package corpus makes the pairs that the store is measured with: a day of JSON
// over HTTP, the same pairs whenever it is asked, made as fast as they can be
// sent, so that nothing of them has to be kept anywhere.
//
// Their shape: 20 apps with 24 instances, 60 endpoints, 94 % 2xx, 4 % 4xx and
// 2 % 5xx, durations spread log-normally. A request body has 1.2 KB in the
// mean, a response body 2.2 KB, and the whole pair 4.1 KB as it is encoded.
// Bodies are lists of objects of about 280 bytes, each with a UUID, so that
// they compress to about a quarter and not to nothing. 3 % of the response
// bodies are gzip, 1 % are random bytes, and one in 20,000 has 200 KB.
package corpus

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/zeebo/xxh3"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

const (
	seed = 42
	// Proxies is how many instances there are; pair n is of proxy n % Proxies.
	Proxies = 24
	// Apps is how many apps they are of; the first ones have two instances.
	Apps = 20
	// Endpoints is how many there are of all apps together.
	Endpoints = Apps * endpointsOfApp

	endpointsOfApp = 3
	clients        = 40
	// bigEvery and bigBody: now and then a body is large.
	bigEvery = 20_000
	bigBody  = 200 << 10
)

// Words to search for. Needles bodies have the rare one, whatever the number
// of pairs; one of them is compressed. One body in twenty has the common one.
const (
	Rare    = "needle7c1e94ab"
	Common  = "promoblackfriday"
	Needles = 37
)

// Corpus is a number of pairs, spread evenly over a time.
type Corpus struct {
	Pairs uint64
	// From is when it begins, To when it ends, Unix nanoseconds.
	From, To int64
}

// Day is a corpus of the 24 hours before end.
func Day(pairs uint64, end time.Time) Corpus {
	return Corpus{Pairs: pairs, From: end.Add(-24 * time.Hour).UnixNano(), To: end.UnixNano()}
}

// Time is about when pair n is. Times of neighbours are not quite in order.
func (c Corpus) Time(n uint64) int64 {
	return c.From + int64(float64(n)*float64(c.To-c.From)/float64(c.Pairs))
}

// HasNeedle says whether the rare word is in pair n, and which of the needles
// it is.
func (c Corpus) HasNeedle(n uint64) (which uint64, ok bool) {
	every := c.Pairs / Needles
	if every == 0 || n%every != every/2 {
		return 0, false
	}
	which = n / every
	return which, which < Needles
}

// App is the name of a proxy's app.
func App(proxy int) string { return apps[proxy%Apps] }

// Source is who a proxy is, run tells one run's epochs from another's.
func Source(proxy int, run uint64) *capturev1.Source {
	epoch := make([]byte, 0, 16)
	epoch = binary.BigEndian.AppendUint64(epoch, run)
	epoch = binary.BigEndian.AppendUint64(epoch, uint64(proxy)+1)
	pod := App(proxy) + "-" + hosts[proxy/Apps]
	return &capturev1.Source{Namespace: "shop", App: App(proxy), Pod: pod, ProxyId: pod, Epoch: epoch}
}

// ID is the id of pair n.
func (c Corpus) ID(n uint64) [16]byte {
	var id [16]byte
	var g rand.PCG
	g.Seed(seed^0x1d, n)
	ms := uint64(c.Time(n) / int64(time.Millisecond))
	binary.BigEndian.PutUint64(id[:], ms<<16|7<<12|g.Uint64()&0xfff)
	binary.BigEndian.PutUint64(id[8:], 1<<63|g.Uint64()&(1<<62-1))
	return id
}

// Maker makes pairs of a corpus. It is for one goroutine.
type Maker struct {
	corpus Corpus
	pcg    rand.PCG
	r      *rand.Rand
	gz     *gzip.Writer
	pair   capturev1.RRPair
	id     [16]byte
	// What the pair's messages point to.
	reqHead, reqBody, respHead, respBody, plain, reqHash, respHash []byte
}

// NewMaker makes a Maker.
func NewMaker(c Corpus) *Maker {
	m := &Maker{corpus: c}
	m.r = rand.New(&m.pcg)
	m.gz, _ = gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is valid
	m.pair.Timing, m.pair.Request, m.pair.Response = new(capturev1.Timing), new(capturev1.Message), new(capturev1.Message)
	return m
}

// Pair makes pair n, without source and sequence. It is lent until the next
// call.
func (m *Maker) Pair(n uint64) *capturev1.RRPair {
	m.pcg.Seed(seed, n)
	r, p := m.r, &m.pair
	m.id = m.corpus.ID(n)
	p.Id = m.id[:]
	app := int(n%Proxies) % Apps
	e := &endpoints[app*endpointsOfApp+skewed(r, endpointsOfApp)]

	p.Direction = capturev1.Direction_DIRECTION_INBOUND
	p.Protocol = "http"
	client := skewed(r, clients)
	p.Client, p.Server = clientAddrs[client][r.IntN(ports)], "127.0.0.1:8080"
	p.Conn, p.Seq = n/Proxies/50, n/Proxies%50
	p.Method, p.Host = e.method, e.host
	p.Path = e.path(r)
	p.Query = ""
	if e.method == "GET" && r.IntN(3) == 0 {
		p.Query = queries[r.IntN(len(queries))]
	}
	p.Status = statusOf(r)
	p.Error = ""
	m.times(n)

	needle, rare := m.corpus.HasNeedle(n)
	m.reqBody = m.reqBody[:0]
	if e.method != "GET" {
		m.reqBody = m.body(m.reqBody, 2810)
	}
	m.plain = m.body(m.plain[:0], 2190)
	encoding, kind := "", "application/json"
	switch {
	case rare:
		m.plain = inject(m.plain, Rare)
	case r.IntN(20) == 0:
		m.plain = inject(m.plain, Common)
	}
	switch form := r.IntN(100); {
	case rare && needle == 18, !rare && form < 3:
		encoding = "gzip"
		m.respBody = m.zip(m.plain)
	case !rare && form == 3:
		kind = "application/octet-stream"
		m.respBody = random(r, m.respBody[:0], len(m.plain))
	case !rare && n%bigEvery == bigEvery/3:
		m.respBody = m.body(m.respBody[:0], bigBody)
		for len(m.respBody) < bigBody {
			m.respBody = m.object(m.respBody)
		}
	default:
		m.respBody = append(m.respBody[:0], m.plain...)
	}
	m.reqHead = appendRequestHead(m.reqHead[:0], r, p, client, len(m.reqBody))
	m.respHead = appendResponseHead(m.respHead[:0], r, p, kind, encoding, len(m.respBody))
	m.reqHash = fill(p.Request, m.reqHead, m.reqBody, m.reqHash[:0])
	m.respHash = fill(p.Response, m.respHead, m.respBody, m.respHash[:0])
	return p
}

// fill makes a message of its parts.
func fill(m *capturev1.Message, head, body, hash []byte) []byte {
	m.Head, m.Body, m.BodySize = head, body, uint64(len(body))
	m.WireSize = uint64(len(head) + len(body))
	m.BodyHash = nil
	if len(body) > 0 {
		sum := xxh3.Hash128(body).Bytes()
		hash = append(hash, sum[:]...)
		m.BodyHash = hash
	}
	return hash
}

func (m *Maker) times(n uint64) {
	r, t := m.r, m.pair.Timing
	step := float64(m.corpus.To-m.corpus.From) / float64(m.corpus.Pairs)
	at := m.corpus.Time(n) + int64(r.Float64()*step*Proxies)
	took := int64(25e6 * math.Exp(r.NormFloat64()*0.9))
	t.Accepted, t.Connected = at-2e9, at-2e9+300e3
	t.RequestFirst, t.RequestLast = at, at+40e3
	t.ResponseFirst, t.ResponseLast = at+took-took/8, at+took
}

func statusOf(r *rand.Rand) int32 {
	switch n := r.IntN(100); {
	case n < 2:
		return [...]int32{500, 502, 503}[r.IntN(3)]
	case n < 6:
		return [...]int32{400, 401, 404, 409, 429}[r.IntN(5)]
	case n < 20:
		return 201
	default:
		return 200
	}
}

// skewed is a number below n; small ones are more likely.
func skewed(r *rand.Rand, n int) int {
	f := r.Float64()
	return int(f * f * float64(n))
}

// body appends a list of objects, of about mean bytes in the mean.
func (m *Maker) body(b []byte, mean int) []byte {
	// 1 and an exponentially distributed number beside it.
	count := 1 + int(m.r.ExpFloat64()*(float64(mean)/objectLen-0.5))
	if mean == bigBody {
		count = 1
	}
	b = append(b, '[')
	for i := range min(count, 100) {
		if i > 0 {
			b = append(b, ',')
		}
		b = m.object(b)
	}
	return append(b, ']')
}

// object appends one of the objects that are there, with an id of its own.
func (m *Maker) object(b []byte) []byte {
	at := len(b)
	b = append(b, objects[m.r.IntN(len(objects))]...)
	putUUID(b[at+len(objectStart):], m.r.Uint64(), m.r.Uint64())
	return b
}

// inject puts a word where the note of the first object begins.
func inject(b []byte, word string) []byte {
	const note = `"note":"`
	at := index(b, note) + len(note)
	copy(b[at:at+len(word)], word)
	b[at+len(word)] = ' '
	return b
}

func (m *Maker) zip(plain []byte) []byte {
	w := sliceWriter(m.respBody[:0])
	m.gz.Reset(&w)
	_, _ = m.gz.Write(plain) // a sliceWriter takes all
	_ = m.gz.Close()
	return w
}

type sliceWriter []byte

func (w *sliceWriter) Write(p []byte) (int, error) {
	*w = append(*w, p...)
	return len(p), nil
}

func random(r *rand.Rand, b []byte, n int) []byte {
	for len(b) < n {
		b = binary.LittleEndian.AppendUint64(b, r.Uint64())
	}
	return b[:n]
}
