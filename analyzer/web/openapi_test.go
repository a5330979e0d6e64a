package web

import (
	"bytes"
	"encoding/json"
	"flag"
	"log/slog"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write api/openapi.json anew")

const specFile = "../../api/openapi.json"

// TestOpenAPI holds the committed document to the code.
func TestOpenAPI(t *testing.T) {
	s, err := New(Config{}, Deps{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(specFile, s.spec, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(specFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, s.spec) {
		t.Error("api/openapi.json is not what the code serves; run make generate")
	}
}

// TestOpenAPIListsTheContract: every call of the contract is described, and
// lists are never null.
func TestOpenAPIListsTheContract(t *testing.T) {
	s, err := New(Config{}, Deps{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		OpenAPI    string                     `json:"openapi"`
		Paths      map[string]json.RawMessage `json:"paths"`
		Components struct {
			Schemas map[string]json.RawMessage `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(s.spec, &doc); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Errorf("openapi %q, want 3.1", doc.OpenAPI)
	}
	for _, p := range []string{
		"/healthz", "/readyz",
		"/api/v1/pairs", "/api/v1/pairs/{id}", "/api/v1/pairs/{id}/{message}/body", "/api/v1/pairs/{id}/{message}/raw", "/api/v1/pairs/{id}/curl",
		"/api/v1/tail", "/api/v1/stats/histogram", "/api/v1/stats/facets", "/api/v1/stats/endpoints", "/api/v1/stats/map",
		"/api/v1/stats/errors", "/api/v1/stats/heatmap", "/api/v1/stats/difference",
		"/api/v1/export", "/api/v1/query", "/api/v1/fields", "/api/v1/fields/{name}/values", "/api/v1/proxies", "/api/v1/forwarders", "/api/v1/ledger", "/api/v1/why", "/api/v1/doctor", "/api/v1/info",
	} {
		if doc.Paths[p] == nil {
			t.Errorf("%s is not described", p)
		}
	}
	for name, schema := range doc.Components.Schemas {
		if bytes.Contains(schema, []byte(`"array",`)) || strings.HasPrefix(name, "ErrorModel") {
			t.Errorf("schema %s: %s", name, schema)
		}
	}
}
