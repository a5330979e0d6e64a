package web

import (
	"context"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/weir-capture/weir/analyzer/store"
	httpv1 "github.com/weir-capture/weir/api/http/v1"
)

func (s *Server) stats(api huma.API) {
	huma.Register(api, operation(
		api, "get-histogram", "/api/v1/stats/histogram", "Count pairs over time by status class",
		"Without from it begins with the oldest pair, without to it ends now.",
		[]*huma.Param{
			queryParam("What to count; empty for everything."),
			timeParam("from", "Where to begin, included."), timeParam("to", "Where to end, excluded."),
			countParam("buckets", "At most so many steps.", httpv1.DefaultBuckets, httpv1.MaxBuckets),
		}, http.StatusBadRequest, http.StatusServiceUnavailable,
	), s.histogram)

	events := map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{
		Type: huma.TypeString,
		Description: "event pair: data is a Row, id the cursor. event dropped: data is a Dropped; at least so many were not sent, because the reader was too slow or its cursor is of another store. " +
			"An id without data moves the cursor. Comments are signs of life.",
	}}}
	// The events' shapes are part of the document, although no schema can say
	// where they stand in a stream.
	api.OpenAPI().Components.Schemas.Schema(typeOf[httpv1.Row](), true, "Row")
	api.OpenAPI().Components.Schemas.Schema(typeOf[httpv1.Dropped](), true, "Dropped")
	huma.Register(api, ok(operation(
		api, "tail-pairs", tailPath, "Follow pairs as they are stored",
		"Server-sent events, in the order in which pairs became durable. Without a cursor it begins with now.",
		[]*huma.Param{
			queryParam("What to follow; empty for everything."),
			param("query", "cursor", "id of the last event that was seen; goes on behind it.", huma.TypeString),
			param("header", "Last-Event-ID", "As cursor, and goes before it: what a browser sends when it comes back.", huma.TypeString),
		}, http.StatusBadRequest, http.StatusServiceUnavailable,
	), "The stream.", events, nil), func(ctx context.Context, in *tailInput) (*huma.StreamResponse, error) {
		_, q, err := s.ask(ctx, in.Q)
		if err != nil {
			return nil, err
		}
		after, foreign, err := parseTailCursor("cursor", in.Cursor, s.cfg.StoreID)
		if err == nil && in.LastEventID != "" {
			after, foreign, err = parseTailCursor("Last-Event-ID", in.LastEventID, s.cfg.StoreID)
		}
		if err != nil {
			return nil, err
		}
		leave, ok := enter(s.tails)
		if !ok {
			return nil, problem(http.StatusServiceUnavailable, httpv1.ProblemBusy,
				fmt.Sprintf("%d tails are open, as many as this analyzer serves. Close one, or ask again later.", s.cfg.Tails))
		}
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			defer leave()
			r, w := humago.Unwrap(ctx)
			s.tail(w, r, store.Tail{Query: q, After: after}, foreign)
		}}, nil
	})
}

func (s *Server) histogram(ctx context.Context, in *histogramInput) (*output[httpv1.Histogram], error) {
	_, q, err := s.ask(ctx, in.Q)
	if err != nil {
		return nil, err
	}
	buckets, err := parseCount("buckets", in.Buckets, httpv1.DefaultBuckets, httpv1.MaxBuckets)
	if err != nil {
		return nil, err
	}
	now := s.cfg.Now()
	from, to, err := parseRange(in.From, in.To, now)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.QueryTimeout)
	defer cancel()
	if to == 0 {
		to = now.UnixNano()
	}
	if from == 0 {
		x, err := s.deps.Store.Extent(ctx)
		if err != nil {
			return nil, s.fail(ctx, err)
		}
		if from = x.Oldest; from == 0 || from >= to {
			from = to - int64(defaultSpan)
		}
	}
	if from >= to {
		return nil, badParam("from=%s is not before now; give to as well to look at what a fast clock stamped.", shown(in.From))
	}
	b, err := s.deps.Store.Histogram(ctx, store.Histogram{Query: q, From: from, To: to, Buckets: buckets})
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	return &output[httpv1.Histogram]{histogram(b)}, nil
}
