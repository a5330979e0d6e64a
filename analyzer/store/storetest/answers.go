package storetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/memstore"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/query"
)

// Queries ask for every field and every kind of test.
var Queries = []string{
	"", "status:5xx", "status:200", "status:<400", "status:>=500", "status:*", "-status:*", "-status:2xx",
	"app:checkout", "app:c*", "app:(checkout payments)", "app:/^c/", "-app:/^c/", "pod:pod-1", "namespace:*", "-namespace:*", "cluster:production",
	"direction:inbound", "direction:*", "-direction:outbound", "direction:in*",
	"protocol:http", "protocol:HTTP", "method:get", "method:(GET POST)", "-method:*",
	"path:/users/*", "path:*items", "path:/API/Search", "path:/api/search", "path:*%20*", "path:*_c", "path:/ünï/*", "-path:/health*",
	"endpoint:/users/{id}", "endpoint:*{id}*",
	"host:shop.example.com", "host:*.example.com", "host:SHOP.example.com:8080",
	"query:debug=1", "query:page", `query:"card declined"`, "query:card*", "-query:debug",
	"error:refused", `error:"reset by"`, "error:*", "error:refuse", "error:/res.t/",
	"duration:>200ms", "duration:<=200ms", "duration:*", "-duration:*", "-duration:>1ms", "ttfb:50ms..300ms",
	"size.request:>0", "size.response:10..40", "size.request:*", "-size.request:*",
	"client:10.0.0.1", "client:*:40003", "server:10.1.0.1:8080", "server:10.1.0.1",
	"header.x-tenant:acme", "header.x-tenant:ACME", "request.header.x-number:>50", "response.header.content-type:*json*", "-header.x-tenant:acme",
	"body:declined", `body:"card was"`, "request.body:sku", "response.body:/acc.*ed/", "-body:declined",
	"json.card:declined", "json.price:>100", "json.items[*].sku:sku-3",
	"tag.tls.sni:*", "tag.tls.sni:a.example.com", "tag.tls.sni:*.example.com", "-tag.tls.sni:*",
	"flag:truncated", "flag:*", "flag:(no_response midstream)", "-flag:truncated", "flag:t*",
	"conn:0", "conn:10..20", "conn:*", "seq:>1",
	"declined", `"the card"`, "acme", "-declined",
	"status:5xx OR app:checkout", "status:5xx app:checkout", "-(status:5xx OR app:checkout)", "-(status:5xx declined)",
	"(body:declined OR status:5xx) -app:catalog", "-(-body:declined)", "status:5xx OR header.x-tenant:acme",
	"-(path:/users/* -body:declined) method:GET", "(query:card* OR flag:truncated) -(error:refused OR status:404)",
}

// answers compares everything that is asked with what memstore says.
func (s Suite) answers(t *testing.T) {
	const count = 400
	e := s.Open(t)
	oracle := s.oracle()
	proxy := NewProxy(1)
	f := NewForwarder(1, proxy)
	r := rand.New(rand.NewPCG(1, 2))
	for n := uint64(0); n < count; {
		size := min(1+r.Uint64N(64), count-n)
		fr := f.Frame(Pairs(n, n+size)...)
		add(t, e, f, fr)
		add(t, oracle, f, fr)
		n += size
		if n > count/2 && n-size <= count/2 && s.Settle != nil {
			s.Settle(t, e) // so that half is in the index and half is not
		}
	}
	compare := func(name string) {
		t.Run(name+"Lists", func(t *testing.T) { s.compareAnswers(t, e, oracle) })
		t.Run(name+"Sums", func(t *testing.T) { s.compareSums(t, e, oracle) })
		t.Run(name+"Scans", func(t *testing.T) { s.compareScans(t, e, oracle) })
	}
	compare("")
	if s.Settle != nil {
		// The query table is asked at rest, too.
		s.Settle(t, e)
		s.Every *= 3
		compare("AtRest")
	}
}

// oracle says what other engines should answer.
func (s Suite) oracle() Engine {
	return memstore.New(func() int64 { return time.Now().UnixNano() })
}

func (s Suite) compareAnswers(t *testing.T, e, oracle Engine) {
	t.Helper()
	if got, want := extent(t, e), extent(t, oracle); got != want {
		t.Errorf("extent %+v, want %+v", got, want)
	}
	for i, src := range Queries {
		if i%s.Every != 0 {
			continue
		}
		q := parse(t, src)
		want := All(t, oracle, store.List{Query: q})
		for _, whole := range []bool{false, true} {
			got := All(t, e, store.List{Query: q, Whole: whole})
			if !sameIDs(got, want) {
				t.Errorf("%q, whole %v: %d pairs, want %d; first difference at %d", src, whole, len(got), len(want), firstDifference(got, want))
				continue
			}
			for i := range got {
				if err := samePair(got[i], want[i], whole); err != nil {
					t.Errorf("%q, whole %v, pair %d: %v", src, whole, want[i].Pair.GetProxySeq(), err)
				}
			}
		}
		for _, h := range []store.Histogram{
			{Query: q, Buckets: 30},
			{Query: q, Buckets: 7, From: Base + 100e9, To: Base + 333e9},
		} {
			got, err := e.Histogram(t.Context(), h)
			if err != nil {
				t.Fatal(err)
			}
			ref, err := oracle.Histogram(t.Context(), h)
			if err != nil {
				t.Fatal(err)
			}
			if got.Partial || got.Step != ref.Step || got.From != ref.From || got.To != ref.To || !slices.Equal(got.Counts, ref.Counts) ||
				got.Sampled != ref.Sampled || !slices.Equal(got.Estimated, ref.Estimated) {
				t.Errorf("%q: histogram %+v, want %+v", src, got, ref)
			}
		}
	}
	for _, src := range []string{"", "status:5xx", "declined", "query:card*"} {
		q := parse(t, src)
		for _, limit := range []int{1, 7, 100} {
			page := store.List{Query: q, From: Base + 50e9, To: Base + 300e9}
			if limit == 1 { // as many questions as there are pairs
				page.To = Base + 100e9
			}
			want := All(t, oracle, page)
			page.Limit = limit
			var got []*store.Stored
			for {
				part := All(t, e, page)
				got = append(got, part...)
				if len(part) < limit {
					break
				}
				last := part[len(part)-1]
				page.Before = &store.Key{Time: store.Time(last.Pair), ID: store.ID(last.Pair.GetId())}
			}
			if !sameIDs(got, want) {
				t.Errorf("%q in pages of %d: %d pairs, want %d", src, limit, len(got), len(want))
			}
		}
	}
	for i, st := range All(t, oracle, store.List{}) {
		if i%s.Every != 0 {
			continue
		}
		got, err := e.Pair(t.Context(), store.ID(st.Pair.GetId()))
		if err != nil {
			t.Fatal(err)
		}
		if err := samePair(got, st, true); err != nil {
			t.Errorf("pair %d: %v", st.Pair.GetProxySeq(), err)
		}
	}
}

func extent(t *testing.T, e Engine) store.Extent {
	t.Helper()
	x, err := e.Extent(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	x.Bytes = 0
	return x
}

func firstDifference(a, b []*store.Stored) int {
	for i := range min(len(a), len(b)) {
		if string(a[i].Pair.GetId()) != string(b[i].Pair.GetId()) {
			return i
		}
	}
	return min(len(a), len(b))
}

func sameIDs(a, b []*store.Stored) bool { return len(a) == len(b) && firstDifference(a, b) == len(a) }

// samePair compares what a list has to show, or everything.
func samePair(got, want *store.Stored, whole bool) error {
	if got.Endpoint != want.Endpoint {
		return fmt.Errorf("endpoint %q, want %q", got.Endpoint, want.Endpoint)
	}
	if whole {
		if !proto.Equal(got.Pair, want.Pair) {
			return fmt.Errorf("got %v, want %v", got.Pair, want.Pair)
		}
		return nil
	}
	g, w := got.Pair, want.Pair
	type shown struct {
		time, duration, ttfb                              int64
		cluster, namespace, app, pod, direction, protocol string
		method, host, path, query, err, client, server    string
		status                                            int32
		requestSize, responseSize, conn, seq              uint64
		flags, tags                                       string
		weight                                            uint32
	}
	of := func(p *capturev1.RRPair) shown {
		d, ok := query.Duration(p)
		if !ok {
			d = -1
		}
		f, ok := query.TTFB(p)
		if !ok {
			f = -1
		}
		flags := slices.Clone(p.GetFlags())
		slices.Sort(flags)
		src := p.GetSource()
		return shown{
			store.Time(p), d, f,
			src.GetCluster(), src.GetNamespace(), src.GetApp(), src.GetPod(), p.GetDirection().String(), p.GetProtocol(),
			p.GetMethod(), p.GetHost(), p.GetPath(), p.GetQuery(), p.GetError(), p.GetClient(), p.GetServer(),
			p.GetStatus(),
			p.GetRequest().GetBodySize(), p.GetResponse().GetBodySize(), p.GetConn(), p.GetSeq(),
			fmt.Sprint(flags), fmt.Sprint(p.GetTags()), store.Weight(p),
		}
	}
	if of(g) != of(w) {
		return fmt.Errorf("got %+v, want %+v", of(g), of(w))
	}
	return nil
}
