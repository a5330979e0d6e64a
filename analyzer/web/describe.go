package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	httpv1 "github.com/weir-capture/weir/api/http/v1"
)

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
