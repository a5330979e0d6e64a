package weir_test

import (
	"encoding/json"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/weir-capture/weir"

// rule says what the packages of a room may import of this module, and which
// other packages they must not import at all. internal/ is always allowed but
// for protocol; a room may always import itself.
type rule struct {
	room string // a folder; the longest match holds, and it covers what is below
	may  []string
	// never are import paths (with all below them) that must not even be
	// reached directly.
	never []string
	why   string
}

var rules = []rule{
	{"api", nil, nil, "the contracts between programs: nothing of ours may leak into them"},
	{"protocol", []string{}, []string{"net", "log", "sync", "os", "google.golang.org"}, "vocabulary and decoders are sans-IO: bytes and a clock in, messages out"},
	{"protocol/protocols", []string{"protocol/..."}, []string{"net", "log", "os"}, "the one ordered list; the only place that knows every protocol"},
	{"protocol/protocoltest", []string{"protocol"}, nil, "the kit that holds every decoder to the same rules"},
	{"protocol/grpc", []string{"protocol", "protocol/http2"}, []string{"net", "log", "sync", "os"}, "gRPC is HTTP/2 with a content type"},
	{"pair", []string{"protocol", "api/capture/..."}, []string{"net", "log"}, "one pairing algorithm for every protocol: it must not know any of them"},
	{"goproxy/listen", nil, nil, "accepting never dials and never decodes"},
	{"goproxy/relay", []string{"goproxy/tee"}, nil, "traffic fails open: carrying knows nothing of what it carries"},
	{"goproxy/tee", nil, nil, "lends bytes to a function; knows nothing of protocols"},
	{"goproxy/observe", []string{"goproxy/tee", "protocol", "protocol/protocols", "pair", "api/capture/..."}, nil, "detect, decode, pair; shipping is a function that it is given"},
	{"goproxy/ship", []string{"api/capture/...", "seglog"}, nil, "carries pairs, whatever protocol they are of"},
	{"goproxy", []string{"goproxy/...", "api/capture/...", "daemon", "protocol", "protocol/protocols", "pair", "redact"}, nil, "the program wires its rooms; it stays small: no database, no viewer"},
	{"query", []string{"api/capture/..."}, nil, "one language for all; the compilers to SQL live with the stores"},
	{"redact", []string{"api/capture/...", "query"}, []string{"net", "os"}, "pure: rules and pairs in, edited pairs out"},
	{"seglog", nil, []string{"google.golang.org"}, "it stores bytes"},
	{"frame", []string{"api/capture/..."}, []string{"net"}, "what the forwarder makes once and the analyzer reads"},
	{"spool", []string{"seglog"}, []string{"google.golang.org"}, "it stores bytes"},
	{"forwarder", []string{"forwarder/...", "api/capture/...", "query", "redact", "spool", "seglog", "frame", "daemon"}, nil, "programs meet only in api"},
	{"analyzer/store", []string{"analyzer/store/...", "api/capture/...", "query/...", "seglog", "frame"}, []string{"net/http"}, "engines know no viewer"},
	{"analyzer/control", nil, nil, "users and keys know no pairs"},
	{"analyzer/oidc", []string{"analyzer/control", "daemon"}, []string{"net/http/httptest", "google.golang.org/grpc", "github.com/duckdb"}, "signs people in with their provider; knows roles, neither sessions nor requests"},
	{"analyzer/ledger", []string{"analyzer/store", "api/capture/..."}, nil, "counts what commits and forwarders say; knows neither engine nor people"},
	{"analyzer/importer", []string{"analyzer/store", "api/capture/...", "frame", "query"}, []string{"net/http"}, "pairs of files go the way of captured ones; knows no format"},
	{"analyzer/ingest", []string{"analyzer/store", "api/capture/..."}, nil, "writes; does not serve people"},
	{"interchange", []string{"api/capture/...", "query"}, []string{"net/http/httptest", "google.golang.org/grpc", "github.com/duckdb"}, "the file formats of others: pairs in, bytes out, and back; knows neither store nor API"},
	{"analyzer/web", []string{"analyzer/store", "analyzer/ledger", "analyzer/importer", "doctor", "interchange", "analyzer/control", "analyzer/oidc", "analyzer/ingest", "query", "ui", "api/...", "daemon", "protocol/protocols"}, []string{"github.com/duckdb"}, "asks through the store's interfaces, never an engine"},
	{"analyzer", []string{"analyzer/...", "api/capture/...", "daemon", "ui"}, nil, "the program wires its rooms"},
	{"ui", []string{}, nil, "embeds the viewer"},
	{"daemon", nil, nil, "knows no program"},
	{"doctor", []string{"api/http/..."}, nil, "the checks and their words, for the command line and the API alike"},
	{"client", []string{"api/..."}, nil, "speaks the HTTP API and nothing else"},
	{"demo", []string{"client"}, nil, "an application and its traffic know of Weir only the API"},
	{"cmd/goproxy", []string{"goproxy", "daemon"}, nil, "one program"},
	{"cmd/forwarder", []string{"forwarder", "daemon"}, nil, "one program"},
	{"cmd/analyzer", []string{"analyzer", "daemon"}, nil, "one program"},
	{"cmd/weir", []string{"goproxy", "forwarder", "analyzer", "daemon", "client", "demo", "doctor", "query", "protocol/protocols", "interchange", "redact", "seglog", "api/..."}, nil, "the command line; up and demo run all three programs"},
	{"bench/store", []string{"bench/store/...", "api/capture/...", "goproxy/ship/wire", "seglog", "frame"}, nil, "sends what proxies and forwarders send, as cheaply as they do, and builds its peers on the same log"},
	{"bench", []string{"api/capture/...", "redact"}, nil, "measures the programs from outside, beside those of others; redaction, which nobody else has, by itself"},
	{"e2e", []string{"api/..."}, nil, "starts the real binaries and talks to their front doors"},
	{"internal", []string{}, nil, "leaves"},
}

// allowed: a may entry names a folder, and with /... all below it.
func allowed(r rule, path string) bool {
	for _, m := range r.may {
		if room, all := strings.CutSuffix(m, "/..."); path == room || all && under(path, room) {
			return true
		}
	}
	return false
}

func under(path, room string) bool { return path == room || strings.HasPrefix(path, room+"/") }

func ruleFor(dir string) (rule, bool) {
	var best rule
	for _, r := range rules {
		if under(dir, r.room) && len(r.room) >= len(best.room) {
			best = r
		}
	}
	return best, best.room != ""
}

// TestImports holds the table above. Test files are free to import more, but
// for another program.
func TestImports(t *testing.T) {
	for dir, imports := range packages(t) {
		if dir == "." {
			continue
		}
		r, ok := ruleFor(dir)
		if !ok {
			t.Errorf("%s: a new room needs a rule in arch_test.go (and a line in ARCHITECTURE.md)", dir)
			continue
		}
		for _, imp := range imports {
			for _, n := range r.never {
				if under(imp, n) {
					t.Errorf("%s imports %s: %s", dir, imp, r.why)
				}
			}
			own, ok := strings.CutPrefix(imp, module+"/")
			if !ok || under(own, r.room) {
				continue
			}
			if under(own, "internal") && !under(dir, "protocol") {
				continue
			}
			// A protocol's folder may use the vocabulary above it.
			if r.room == "protocol" && own == "protocol" {
				continue
			}
			if !allowed(r, own) {
				t.Errorf("%s imports %s: %s", dir, own, r.why)
			}
		}
	}
}

// TestEachProtocolStandsAlone: a decoder may sit on a sibling only where a
// rule says so.
func TestEachProtocolStandsAlone(t *testing.T) {
	for dir, imports := range packages(t) {
		r, _ := ruleFor(dir)
		if r.room != "protocol" || dir == "protocol" {
			continue
		}
		for _, imp := range imports {
			if own, ok := strings.CutPrefix(imp, module+"/protocol/"); ok {
				t.Errorf("%s imports protocol/%s: a decoder knows no other", dir, own)
			}
		}
	}
}

// TestNoSharedStateInDecoders: a decoder has no goroutine, channel or clock of
// its own.
func TestNoSharedStateInDecoders(t *testing.T) {
	files, err := filepath.Glob("protocol/*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") || strings.HasPrefix(f, "protocol/protocoltest/") {
			continue
		}
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{"go func", "chan ", "time.Now", "sync."} {
			for i, line := range strings.Split(string(src), "\n") {
				if code, _, _ := strings.Cut(line, "//"); strings.Contains(code, word) {
					t.Errorf("%s:%d uses %q: decoders take bytes and a clock and return messages", f, i+1, word)
				}
			}
		}
	}
}

// TestPackageDocs: every package has exactly one doc comment.
func TestPackageDocs(t *testing.T) {
	for dir := range packages(t) {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		var with []string
		for _, f := range files {
			if strings.HasSuffix(f, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), f, nil, parser.ParseComments|parser.PackageClauseOnly)
			if err != nil {
				t.Fatal(err)
			}
			if parsed.Doc != nil && !strings.Contains(f, ".pb.go") {
				with = append(with, f)
			}
		}
		if under(dir, "api") && len(with) == 0 {
			continue // generated; the .proto files carry the words
		}
		if len(with) != 1 && dir != "." {
			t.Errorf("%s: want one package comment, have %d %v", dir, len(with), with)
		}
	}
}

var listed map[string][]string

// packages is every package of the module with what its non-test files
// import, by folder.
func packages(t *testing.T) map[string][]string {
	t.Helper()
	if listed != nil {
		return listed
	}
	out, err := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=Dir,Imports,GoFiles", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	listed = map[string][]string{}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for dec.More() {
		var p struct {
			Dir     string
			Imports []string
			GoFiles []string
		}
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		if len(p.GoFiles) == 0 {
			continue
		}
		rel, err := filepath.Rel(root, p.Dir)
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(p.Imports)
		listed[rel] = p.Imports
	}
	if len(listed) < 3 {
		t.Fatalf("found only %d packages", len(listed))
	}
	return listed
}
