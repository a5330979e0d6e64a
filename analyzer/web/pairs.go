package web

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weir-capture/weir/analyzer/store"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	httpv1 "github.com/weir-capture/weir/api/http/v1"
	"github.com/weir-capture/weir/interchange"
	"github.com/weir-capture/weir/internal/bodycodec"
	"github.com/weir-capture/weir/query"
)

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
