package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/weir-capture/weir/analyzer/store"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	httpv1 "github.com/weir-capture/weir/api/http/v1"
	"github.com/weir-capture/weir/interchange"
	"github.com/weir-capture/weir/internal/bodycodec"
	"github.com/weir-capture/weir/query"
)

// Inputs hold what a caller wrote, as text: reading it here, and not in huma,
// is what makes every mistake a 400 that says what would be right. The
// parameters are described beside each operation.
type (
	listInput struct {
		Q      string `query:"q"`
		From   string `query:"from"`
		To     string `query:"to"`
		Limit  string `query:"limit"`
		Cursor string `query:"cursor"`
	}
	histogramInput struct {
		Q       string `query:"q"`
		From    string `query:"from"`
		To      string `query:"to"`
		Buckets string `query:"buckets"`
	}
	queryInput struct {
		Q string `query:"q"`
	}
	tailInput struct {
		Q           string `query:"q"`
		Cursor      string `query:"cursor"`
		LastEventID string `header:"Last-Event-ID"`
	}
	pairInput struct {
		ID          string `path:"id"`
		IfNoneMatch string `header:"If-None-Match"`
	}
	messageInput struct {
		ID          string `path:"id"`
		Side        string `path:"message"`
		IfNoneMatch string `header:"If-None-Match"`
	}
	bodyInput struct {
		ID          string `path:"id"`
		Side        string `path:"message"`
		Decoded     string `query:"decoded"`
		IfNoneMatch string `header:"If-None-Match"`
	}
	ledgerInput struct {
		From string `query:"from"`
		To   string `query:"to"`
		App  string `query:"app"`
		Step string `query:"step"`
	}
	whyInput struct {
		Q      string `query:"q"`
		Around string `query:"around"`
		Within string `query:"within"`
	}
	noInput struct{}

	output[T any] struct{ Body T }
)

// routes mounts everything on rt and returns the OpenAPI document.
func (s *Server) routes(rt *router) ([]byte, error) {
	cfg := huma.DefaultConfig("Weir analyzer", "1")
	cfg.Info.Description = "Captured traffic: pairs of request and response, searched, tailed and counted. " +
		"Times are RFC 3339 with nanoseconds, durations nanoseconds, sizes bytes. Errors are problem documents (RFC 9457)."
	cfg.Info.License = &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}
	cfg.OpenAPIPath, cfg.DocsPath, cfg.SchemasPath = "", "", ""
	cfg.CreateHooks = nil // no $schema links in answers
	api := humago.New(rt, cfg)

	s.health(api)
	s.pairs(api)
	s.stats(api)
	s.about(api)
	s.account(api)
	s.sums(api)
	s.transfer(api)
	s.session(api)
	s.users(api)
	s.keys(api)
	s.auditLog(api)
	s.views(api)
	s.deletions(api)

	spec, err := describe(api.OpenAPI())
	if err != nil {
		return nil, err
	}
	rt.HandleFunc("GET /api/v1/openapi.json", func(w http.ResponseWriter, r *http.Request) {
		if fresh(w, r.Header.Get("If-None-Match"), etag(spec)) {
			return
		}
		// Nothing of it was captured: it may be kept.
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set("Content-Type", "application/openapi+json")
		// The reader went away if this fails.
		_, _ = w.Write(spec)
	})
	rt.HandleFunc("GET /api/v1/session/oidc", s.oidcBegin)
	rt.HandleFunc("GET "+oidcCallbackPath, s.oidcCallback)
	rt.HandleFunc("POST "+cspReportPath, s.cspReport)
	rt.Handle("GET /metrics", s.metrics.handler())
	rt.HandleFunc("/api/", notFound(rt.mux))
	rt.HandleFunc("/api", notFound(rt.mux))
	viewer := s.deps.Viewer
	if viewer == nil {
		viewer = notFound(rt.mux)
	}
	rt.Handle("/", viewer)
	return spec, rt.err()
}

// Descriptions of parameters.
func param(in, name, doc, typ string, more ...func(*huma.Schema)) *huma.Param {
	p := &huma.Param{Name: name, In: in, Description: doc, Schema: &huma.Schema{Type: typ}, Required: in == "path"}
	for _, m := range more {
		m(p.Schema)
	}
	return p
}

func queryParam(doc string) *huma.Param {
	return param("query", "q", doc, huma.TypeString, func(s *huma.Schema) {
		most := httpv1.MaxQueryLen
		s.MaxLength = &most
		s.Examples = []any{"status:5xx app:checkout"}
	})
}

func timeParam(name, doc string) *huma.Param {
	return param("query", name, doc+" RFC 3339, or how long ago: 15m, 24h, 7d.", huma.TypeString, func(s *huma.Schema) {
		s.Examples = []any{"15m"}
	})
}

func countParam(name, doc string, def, most int) *huma.Param {
	return param("query", name, doc, huma.TypeInteger, func(s *huma.Schema) {
		lo, hi := 1.0, float64(most)
		s.Minimum, s.Maximum, s.Default = &lo, &hi, def
	})
}

func idParam() *huma.Param {
	return param("path", "id", "The pair's id.", huma.TypeString, func(s *huma.Schema) { s.Format = "uuid" })
}

func sideParam() *huma.Param {
	return param("path", "message", "Which of the two.", huma.TypeString, func(s *huma.Schema) { s.Enum = []any{"request", "response"} })
}

// operation is a GET with its possible problems.
func operation(api huma.API, id, path, summary, doc string, params []*huma.Param, problems ...int) huma.Operation {
	op := huma.Operation{
		OperationID: id, Method: http.MethodGet, Path: path, Summary: summary, Description: doc,
		Parameters: params, Responses: map[string]*huma.Response{},
		// What callers wrote is read by the handlers; see the inputs above.
		SkipValidateParams: true,
	}
	schema := api.OpenAPI().Components.Schemas.Schema(typeOf[httpv1.Problem](), true, "Problem")
	for _, status := range append(problems, http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests, http.StatusInternalServerError) {
		op.Responses[strconv.Itoa(status)] = &huma.Response{
			Description: http.StatusText(status),
			Content:     map[string]*huma.MediaType{"application/problem+json": {Schema: schema}},
		}
	}
	return op
}

// ok describes an answer that is not JSON.
func ok(op huma.Operation, doc string, content map[string]*huma.MediaType, headers map[string]*huma.Param) huma.Operation {
	op.Responses["200"] = &huma.Response{Description: doc, Content: content, Headers: headers}
	return op
}

func header(doc string, enum ...any) *huma.Param {
	return &huma.Param{Description: doc, Schema: &huma.Schema{Type: huma.TypeString, Enum: enum}}
}

func (s *Server) pairs(api huma.API) {
	const base = "/api/v1/pairs"
	huma.Register(api, operation(
		api, "list-pairs", base, "List pairs, newest first",
		"Without bodies. next_cursor leads to the next page; give q again with it, from and to are kept in it.",
		[]*huma.Param{
			queryParam("What to look for; empty for everything."),
			timeParam("from", "Oldest time, included."), timeParam("to", "Newest time, excluded."),
			countParam("limit", "Pairs on a page.", httpv1.DefaultLimit, httpv1.MaxLimit),
			param("query", "cursor", "next_cursor of the page before.", huma.TypeString),
		}, http.StatusBadRequest, http.StatusServiceUnavailable,
	), s.list)

	huma.Register(api, operation(
		api, "get-pair", base+"/{id}", "Get a pair, whole", "", []*huma.Param{idParam()},
		http.StatusBadRequest, http.StatusNotFound, http.StatusServiceUnavailable,
	), func(ctx context.Context, in *pairInput) (*output[httpv1.Pair], error) {
		st, err := s.pair(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		g := sightOf(ctx)
		if !g.content {
			quiet(ctx) // there is no content in the answer
		}
		return &output[httpv1.Pair]{g.pair(st)}, nil
	})

	bytesContent := map[string]*huma.MediaType{
		"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}},
	}

	huma.Register(api, ok(operation(
		api, "get-body", base+"/{id}/{message}/body", "Get a message's body",
		"What was kept of it, after the transfer coding and before any content coding, as an attachment, whose name ends in .txt when it is UTF-8.",
		[]*huma.Param{idParam(), sideParam(), param("query", "decoded", "1 undoes gzip, br, zstd and deflate.", huma.TypeBoolean)},
		http.StatusBadRequest, http.StatusNotFound, http.StatusUnprocessableEntity, http.StatusServiceUnavailable,
	), "The body.", bytesContent, map[string]*huma.Param{
		"Weir-Body": header("truncated: this is not all of it.", "whole", "truncated"),
	}), s.body)

	huma.Register(api, ok(operation(
		api, "get-raw", base+"/{id}/{message}/raw", "Get a message's bytes as on the wire",
		"Interim responses, header block, body in its framing, trailers.",
		[]*huma.Param{idParam(), sideParam()}, http.StatusBadRequest, http.StatusNotFound, http.StatusServiceUnavailable,
	), "The bytes.", bytesContent, map[string]*huma.Param{
		"Weir-Raw": header("exact: byte for byte as on the wire. rebuilt: nothing is missing, but the framing may have been another. "+
			"truncated: a part of the body was not kept. redacted: a rule changed the message.", rawExact, rawRebuilt, rawTruncated, rawChanged),
	}), s.raw)

	huma.Register(api, ok(operation(
		api, "get-curl", base+"/{id}/curl", "Get a curl command that sends the request again",
		"For bash. Captured text cannot leave its quotes. Comments before it say what it cannot repeat.",
		[]*huma.Param{idParam()}, http.StatusBadRequest, http.StatusNotFound, http.StatusUnprocessableEntity, http.StatusServiceUnavailable,
	), "The command.", map[string]*huma.MediaType{"text/plain; charset=utf-8": {Schema: &huma.Schema{Type: huma.TypeString}}}, nil),
		func(ctx context.Context, in *pairInput) (*huma.StreamResponse, error) {
			st, err := s.pair(ctx, in.ID)
			if err != nil {
				return nil, err
			}
			cmd, err := interchange.CurlCommand(st.Pair)
			if err != nil {
				return nil, problem(http.StatusUnprocessableEntity, httpv1.ProblemNotSupported, sentence(err))
			}
			return content([]byte(cmd), "text/plain; charset=utf-8", in.IfNoneMatch, nil), nil
		})
}

// list reads one pair more than it shows, to know whether there is a page
// after this one.
func (s *Server) list(ctx context.Context, in *listInput) (*output[httpv1.Pairs], error) {
	_, q, err := s.ask(ctx, in.Q)
	if err != nil {
		return nil, err
	}
	g := sightOf(ctx)
	limit, err := parseCount("limit", in.Limit, httpv1.DefaultLimit, httpv1.MaxLimit)
	if err != nil {
		return nil, err
	}
	ask := store.List{Query: q, Limit: limit + 1}
	var looked store.Progress
	ask.Progress = func(p store.Progress) { looked = p }
	if in.Cursor != "" {
		at, err := parsePlace(in.Cursor)
		if err != nil {
			return nil, err
		}
		ask.From, ask.To, ask.Before = at.from, at.to, &at.before
	} else if ask.From, ask.To, err = parseRange(in.From, in.To, s.cfg.Now()); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.QueryTimeout)
	defer cancel()

	out := httpv1.Pairs{Pairs: []httpv1.Row{}}
	next := func(k store.Key) *string {
		c := place{ask.From, ask.To, k}.String()
		return &c
	}
	var last store.Key
	for st, err := range s.deps.Store.List(ctx, ask) {
		if partial, ok := errors.AsType[*store.PartialError](err); ok {
			out.Partial, out.PartialReason = true, partial.Reason
			if partial.Reached != nil {
				out.NextCursor = next(*partial.Reached)
			} else if len(out.Pairs) > 0 {
				out.NextCursor = next(last)
			}
			break
		}
		if err != nil {
			return nil, s.fail(ctx, err)
		}
		if len(out.Pairs) == limit {
			out.NextCursor = next(last)
			break
		}
		out.Pairs = append(out.Pairs, g.row(st))
		last.Time = store.Time(st.Pair)
		copy(last.ID[:], st.Pair.GetId())
	}
	out.Scanned, out.Of = looked.Scanned, looked.Of
	return &output[httpv1.Pairs]{out}, nil
}

func (s *Server) pair(ctx context.Context, id string) (*store.Stored, error) {
	key, err := parseID(id)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.QueryTimeout)
	defer cancel()
	note(ctx, id, "")
	st, err := s.deps.Store.Pair(ctx, key)
	if err == nil && !sightOf(ctx).has(st.Pair) {
		err = store.ErrNotFound // to this caller it is not there
	}
	if errors.Is(err, store.ErrNotFound) {
		return nil, problem(http.StatusNotFound, httpv1.ProblemNotFound, fmt.Sprintf("No stored pair has the id %s. It may have been removed by retention.", id))
	}
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	return st, nil
}

// message finds one side of a pair. A pair without that side is a 404 too.
func (s *Server) message(ctx context.Context, in messageInput) (*store.Stored, *capturev1.Message, error) {
	if in.Side != "request" && in.Side != "response" {
		return nil, nil, problem(http.StatusNotFound, httpv1.ProblemNotFound, fmt.Sprintf("A pair has a request and a response, no %s.", shown(in.Side)))
	}
	st, err := s.pair(ctx, in.ID)
	if err != nil {
		return nil, nil, err
	}
	m := st.Pair.GetRequest()
	if in.Side == "response" {
		m = st.Pair.GetResponse()
	}
	if m == nil {
		return nil, nil, problem(http.StatusNotFound, httpv1.ProblemNotFound, "This pair has no "+in.Side+"; its flags and error say why.")
	}
	return st, m, nil
}

// decodedLimit is how much a compressed body may grow when it is undone.
const decodedLimit = 64 << 20

func (s *Server) body(ctx context.Context, in *bodyInput) (*huma.StreamResponse, error) {
	decoded, err := parseBool("decoded", in.Decoded)
	if err != nil {
		return nil, err
	}
	st, m, err := s.message(ctx, messageInput{ID: in.ID, Side: in.Side})
	if err != nil {
		return nil, err
	}
	b, whole := m.GetBody(), !m.GetTruncated()
	if decoded {
		if b, whole, err = decode(m); err != nil {
			return nil, err
		}
	}
	state := "whole"
	if !whole {
		state = "truncated"
	}
	return attachment(b, query.FormatID(st.Pair.GetId())+"-"+in.Side, in.IfNoneMatch, map[string]string{"Weir-Body": state}), nil
}

func (s *Server) raw(ctx context.Context, in *messageInput) (*huma.StreamResponse, error) {
	st, m, err := s.message(ctx, *in)
	if err != nil {
		return nil, err
	}
	b, exactness := rawMessage(st.Pair, m)
	return content(b, "application/octet-stream", in.IfNoneMatch, map[string]string{
		"Weir-Raw":            exactness,
		"Content-Disposition": disposition(query.FormatID(st.Pair.GetId()) + "-" + in.Side + ".raw"),
	}), nil
}

// attachment is content that a browser saves and never shows, whatever it is.
func attachment(b []byte, name, ifNoneMatch string, headers map[string]string) *huma.StreamResponse {
	ext := ".bin"
	if utf8.Valid(b) && !slices.Contains(b, 0) {
		ext = ".txt"
	}
	headers["Content-Disposition"] = disposition(name + ext)
	return content(b, "application/octet-stream", ifNoneMatch, headers)
}

func disposition(name string) string {
	return mime.FormatMediaType("attachment", map[string]string{"filename": name})
}

// content is an answer that does not change: a client that has it already is
// told so.
func content(b []byte, kind, ifNoneMatch string, headers map[string]string) *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		tag := etag(b)
		ctx.SetHeader("ETag", tag)
		if sameTag(ifNoneMatch, tag) {
			ctx.SetStatus(http.StatusNotModified)
			return
		}
		for k, v := range headers {
			ctx.SetHeader(k, v)
		}
		ctx.SetHeader("Content-Type", kind)
		ctx.SetHeader("Content-Length", strconv.Itoa(len(b)))
		// The reader went away if this fails.
		_, _ = ctx.BodyWriter().Write(b)
	}}
}

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

// describe writes the OpenAPI document, once everything is registered.
func describe(doc *huma.OpenAPI) ([]byte, error) {
	for _, item := range doc.Paths {
		for _, op := range []*huma.Operation{item.Post, item.Put, item.Patch} {
			if op != nil && op.Metadata[bodyOf] != nil {
				op.RequestBody, _ = op.Metadata[bodyOf].(*huma.RequestBody)
			}
		}
	}
	all := doc.Components.Schemas.Map()
	// huma registers its own error model; nothing here answers with it.
	delete(all, "ErrorModel")
	delete(all, "ErrorDetail")
	for _, schema := range all {
		tidy(schema)
	}
	// huma has no word for an object that may be null.
	for _, may := range []struct{ in, member string }{{"QueryCheck", "mistake"}, {"Forwarder", "telemetry"}, {"Session", "identity"}} {
		if in := all[may.in]; in != nil {
			member := in.Properties[may.member]
			in.Properties[may.member] = &huma.Schema{
				Description: member.Description,
				AnyOf:       []*huma.Schema{{Ref: member.Ref}, {Type: "null"}},
			}
		}
	}
	b, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode OpenAPI: %w", err)
	}
	return append(b, '\n'), nil
}

// tidy says of a schema what holds for this API: a list is never null, a list
// of fixed length is a tuple, and a newer analyzer may add members.
func tidy(s *huma.Schema) {
	if s == nil {
		return
	}
	if s.Type == huma.TypeArray {
		s.Nullable = false
		if s.MinItems != nil && s.MaxItems != nil && *s.MinItems == *s.MaxItems {
			s.Extensions = map[string]any{"prefixItems": slices.Repeat([]*huma.Schema{s.Items}, *s.MaxItems)}
			s.Items = nil
		}
	}
	if closed, ok := s.AdditionalProperties.(bool); ok && !closed {
		s.AdditionalProperties = nil
	}
	if values, ok := s.AdditionalProperties.(*huma.Schema); ok {
		tidy(values)
	}
	tidy(s.Items)
	for _, p := range s.Properties {
		tidy(p)
	}
}

// decode undoes the content codings of a body, as far as it was kept and as
// far as they let it; the second result is whether that is all of it.
func decode(m *capturev1.Message) ([]byte, bool, error) {
	b, err := bodycodec.Decode(codings(m), m.GetBody(), decodedLimit, 0)
	unknown, ok := errors.AsType[*bodycodec.UnknownCodingError](err)
	switch {
	case ok:
		return nil, false, problem(http.StatusUnprocessableEntity, httpv1.ProblemNotSupported,
			fmt.Sprintf("The body's content coding %s is not one of gzip, deflate, br and zstd. Without decoded=1 it comes as it is.", shown(unknown.Coding)))
	case err != nil && len(b) == 0 && !m.GetTruncated():
		return nil, false, problem(http.StatusUnprocessableEntity, httpv1.ProblemNotSupported,
			"The body is not in the content coding that its header names. Without decoded=1 it comes as it is.")
	}
	return b, err == nil && !m.GetTruncated(), nil
}
