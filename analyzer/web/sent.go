package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/weir-capture/weir/analyzer/control"
	httpv1 "github.com/weir-capture/weir/api/http/v1"
)

// sent is the JSON document of a request, read here so that every mistake is
// a problem that says what would be right. It is a field of an input.
type sent[T any] struct {
	doc T
	err error
}

// Resolve is called by huma before the handler.
func (d *sent[T]) Resolve(hc huma.Context) []error {
	r, _ := humago.Unwrap(hc)
	d.err = readDocument(r, &d.doc)
	return nil
}

// readDocument reads one JSON document. A page of another site cannot send
// that media type without being asked first (Fetch standard, CORS-safelisted
// request header).
func readDocument(r *http.Request, into any) error {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return problem(http.StatusUnsupportedMediaType, httpv1.ProblemParameter,
			fmt.Sprintf("Content-Type %s is not taken here; want application/json.", shown(r.Header.Get("Content-Type"))))
	}
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	err := dec.Decode(into)
	if err == nil {
		if _, more := dec.Token(); more == nil {
			return badParam("The body goes on behind its JSON document; want one document.")
		} else if !errors.Is(more, io.EOF) {
			err = more
		}
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return problem(http.StatusRequestEntityTooLarge, httpv1.ProblemParameter, fmt.Sprintf("The body has more than %d bytes, which is the most that is taken here.", tooLarge.Limit))
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return badParam("%s is a JSON %s; want %s.", shown(wrong.Field), wrong.Value, wrong.Type)
	}
	if err != nil {
		// It may have a value of the document, which may be a secret: only
		// names of members are shown.
		if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
			return badParam("There is no member %s; the API's description lists those that there are.", cut(name, maxNoted))
		}
		return badParam("The body is not a JSON document of the kind that is wanted here.")
	}
	return nil
}

// bodyOf is where change keeps what describes a request's body.
const bodyOf = "body"

// change is an operation that takes a document, of the schema of doc where it
// is not nil.
func change(api huma.API, method, id, path, summary, doc string, params []*huma.Param, document any, problems ...int) huma.Operation {
	op := operation(api, id, path, summary, doc, params, append(problems, http.StatusBadRequest, http.StatusUnauthorized, http.StatusNotImplemented, http.StatusServiceUnavailable)...)
	op.Method = method
	if document != nil {
		// huma would read the body itself where it knows of one: describe moves
		// it to its place.
		op.Metadata = map[string]any{bodyOf: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/json": {Schema: api.OpenAPI().Components.Schemas.Schema(reflect.TypeOf(document), true, "")},
		}}}
	}
	return op
}

// control is the control store, or the problem that there is none.
func (s *Server) control() (*control.Store, error) {
	if s.deps.Control == nil {
		return nil, problem(http.StatusNotImplemented, httpv1.ProblemNotSupported, "This analyzer has no control store.")
	}
	return s.deps.Control, nil
}

// refuse turns an error of the control store into a problem.
func (s *Server) refuse(ctx context.Context, err error, what string) error {
	if p, ok := errors.AsType[*httpv1.Problem](err); ok {
		return p
	}
	if wrong, ok := errors.AsType[control.ErrInvalid](err); ok {
		return badParam("%s %s; want %s.", wrong.Field, wrong.Problem, wrong.Want)
	}
	switch {
	case errors.Is(err, control.ErrNotFound):
		return problem(http.StatusNotFound, httpv1.ProblemNotFound, "There is no such "+what+".")
	case errors.Is(err, control.ErrExists):
		return problem(http.StatusConflict, httpv1.ProblemExists, "There is such a "+what+" already.")
	case errors.Is(err, control.ErrBusy):
		return problem(http.StatusServiceUnavailable, httpv1.ProblemBusy, "Too many people sign in at once. Try again in a moment.")
	case errors.Is(err, control.ErrDenied):
		return problem(http.StatusUnauthorized, httpv1.ProblemSignIn, "That does not open anything. The name or the password is wrong, or there were too many tries; then it takes a while.")
	case errors.Is(err, context.Canceled):
		return problem(http.StatusServiceUnavailable, httpv1.ProblemBlank, "The request was cancelled.")
	}
	s.log.ErrorContext(ctx, "Could not ask the control store", "error", err.Error())
	return problem(http.StatusInternalServerError, httpv1.ProblemBlank, "The control store could not answer; the analyzer's log says why.")
}
