package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weir-capture/weir/analyzer/store"
	httpv1 "github.com/weir-capture/weir/api/http/v1"
	"github.com/weir-capture/weir/query"
)

// defaultSpan is what a histogram of an empty store shows.
const defaultSpan = 15 * time.Minute

// probeTimeout bounds one condition of readiness.
const probeTimeout = 2 * time.Second

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }

type healthOutput struct {
	Status int
	Body   httpv1.Health
}

func (s *Server) health(api huma.API) {
	huma.Register(api, operation(api, "healthz", "/healthz", "Is the process alive", "", nil),
		func(context.Context, *noInput) (*healthOutput, error) {
			return &healthOutput{http.StatusOK, httpv1.Health{Status: "ok", Reasons: []string{}}}, nil
		})

	op := operation(api, "readyz", "/readyz", "Can it answer and take pairs in", "503 when it cannot, with the reasons for callers who are signed in or on this machine.", nil)
	op.Responses["503"] = &huma.Response{Description: "Not ready.", Content: map[string]*huma.MediaType{
		"application/json": {Schema: api.OpenAPI().Components.Schemas.Schema(typeOf[httpv1.Health](), true, "Health")},
	}}
	huma.Register(api, op, func(ctx context.Context, _ *noInput) (*healthOutput, error) {
		out := &healthOutput{http.StatusOK, httpv1.Health{Status: "ok", Reasons: s.notReady(ctx)}}
		if len(out.Body.Reasons) > 0 {
			out.Status, out.Body.Status = http.StatusServiceUnavailable, "not_ready"
		}
		if v := visitOf(ctx); !v.known && !v.onMachine() {
			// They have names of directories, and tell when the disk is full.
			out.Body.Reasons = []string{}
		}
		return out, nil
	})
}

// notReady asks every condition and returns those that fail.
func (s *Server) notReady(ctx context.Context) []string {
	checks := append([]Check{{"store", func(ctx context.Context) error {
		_, err := s.deps.Store.Extent(ctx)
		return err
	}}}, s.deps.Checks...)
	reasons := []string{}
	for _, c := range checks {
		if err := func() error {
			ctx, cancel := context.WithTimeout(ctx, probeTimeout)
			defer cancel()
			return c.Probe(ctx)
		}(); err != nil {
			reasons = append(reasons, fmt.Sprintf("%s: %v", c.Name, err))
		}
	}
	return reasons
}

func (s *Server) about(api huma.API) {
	huma.Register(api, operation(api, "list-proxies", "/api/v1/proxies", "Who is connected, in what state",
		"As the forwarders last said; they say it every second.", nil),
		func(ctx context.Context, _ *noInput) (*output[httpv1.Proxies], error) {
			return &output[httpv1.Proxies]{proxies(sightOf(ctx).forwarders(s.forwarders()))}, nil
		})

	huma.Register(api, operation(api, "get-info", "/api/v1/info", "What answers here", "", nil, http.StatusServiceUnavailable),
		func(ctx context.Context, _ *noInput) (*output[httpv1.Info], error) {
			ctx, cancel := context.WithTimeout(ctx, s.cfg.QueryTimeout)
			defer cancel()
			x, err := s.deps.Store.Extent(ctx)
			if err != nil {
				return nil, s.fail(ctx, err)
			}
			g := sightOf(ctx)
			if !g.whole() {
				if x.Pairs, err = s.countWithin(ctx, g, x); err != nil {
					return nil, s.fail(ctx, err)
				}
			}
			return &output[httpv1.Info]{httpv1.Info{
				Version: s.cfg.Version, BuildTime: s.cfg.BuildTime,
				ListenAddr: s.cfg.ListenAddr, IngestAddr: s.cfg.IngestAddr,
				Auth: s.auth(), Redaction: redaction(g.forwarders(s.forwarders())),
				Started: s.started.UTC(), Now: s.cfg.Now().UTC(),
				Oldest: nanoOrNil(x.Oldest), Pairs: x.Pairs,
			}}, nil
		})

	huma.Register(api, operation(api, "list-fields", "/api/v1/fields", "What a query can ask for", "For completion, in the order in which to show them.", nil),
		func(context.Context, *noInput) (*output[httpv1.Fields], error) {
			return &output[httpv1.Fields]{fieldList()}, nil
		})

	huma.Register(api, operation(
		api, "check-query", "/api/v1/query", "Check a query",
		"Says whether the other calls would take it, without asking the store: a mistake is an answer here, not an error.",
		[]*huma.Param{queryParam("The query; empty for everything.")}, http.StatusBadRequest,
	), func(ctx context.Context, in *queryInput) (*output[httpv1.QueryCheck], error) {
		q, err := readQuery(in.Q)
		if mistake, ok := errors.AsType[*query.Error](err); ok {
			at := problemError(mistake)
			return &output[httpv1.QueryCheck]{httpv1.QueryCheck{Mistake: &at}}, nil
		}
		if err != nil {
			return nil, s.fail(ctx, err)
		}
		canonical := ""
		if q != nil {
			canonical = q.String()
		}
		return &output[httpv1.QueryCheck]{httpv1.QueryCheck{Canonical: &canonical}}, nil
	})
}

// countWithin counts the pairs that are in sight.
func (s *Server) countWithin(ctx context.Context, g sight, x store.Extent) (n uint64, err error) {
	if x.Pairs == 0 {
		return 0, nil
	}
	b, err := s.deps.Store.Histogram(ctx, store.Histogram{Query: g.within(nil), From: x.Oldest, To: x.Newest + 1, Buckets: 1})
	if err != nil {
		return 0, err
	}
	for _, c := range b.Counts {
		n += sum(c)
	}
	return n, nil
}

// redaction is how many of the forwarders redact: all, some or none.
func redaction(known []Forwarder) string {
	with := 0
	for _, f := range known {
		if f.Status.GetDlpConfig() != "" {
			with++
		}
	}
	switch with {
	case 0:
		return "off"
	case len(known):
		return "on"
	}
	return "partly"
}
