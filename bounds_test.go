package weir_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// hotRooms are where what comes from outside goes through, so that whatever
// grows there grows with it.
var hotRooms = []string{
	"goproxy/listen", "goproxy/relay", "goproxy/tee", "goproxy/observe", "goproxy/ship",
	"pair", "forwarder/receive", "forwarder/registry", "analyzer/ingest", "internal/grpcdoor",
}

// growing are the slices and maps of those rooms that outlive a call and get
// longer, "room: field", each with what bounds it; [] is an element that is set.
var growing = map[string]string{
	"analyzer/ingest: entries[]":    "maxForwarders of a Directory",
	"analyzer/ingest: frames":       "the bytes of queue.put: Config.Buffer, or one frame",
	"analyzer/ingest: streams[]":    "Config.Streams",
	"forwarder/receive: Chunks":     "the message that it is read from: MaxMessage",
	"forwarder/receive: Flags":      "the message that it is read from: MaxMessage",
	"forwarder/receive: Interim":    "the message that it is read from: MaxMessage",
	"forwarder/receive: epochs[]":   "maxEpochs",
	"forwarder/receive: raw[]":      "an array of frame.MaxPairs",
	"forwarder/receive: runs":       "2*shareRuns, in shares.forget",
	"forwarder/receive: sessions[]": "registry.MaxLive",
	"forwarder/registry: live[]":    "MaxLive",
	"forwarder/registry: past":      "MaxPast",
	"forwarder/registry: warned[]":  "ids of live proxies: MaxLive",
	"goproxy/observe: held[]":       "protocol.MaxPrefix",
	"goproxy/observe: pieces":       "maxPieces",
	"goproxy/observe: spoken[]":     "the list of protocols, at the start",
	"goproxy/observe: tags":         "what one protocol describes, once a connection",
	"goproxy/ship/ring: entries":    "the ring's size in bytes",
	"goproxy/ship/ring: rubbish[]":  "the ring's files, which its size bounds",
	"goproxy/ship/ring: segments":   "the ring's size in bytes",
	"goproxy/ship: behind":          "CAPTURE_MEMORY_LIMIT: each parcel holds its budget",
	"goproxy/ship: behind[]":        "an element of a list",
	"goproxy/ship: ready":           "CAPTURE_MEMORY_LIMIT: each parcel holds its budget",
	"goproxy/ship: ready[]":         "an element of a list",
	"goproxy/ship: sent":            "CAPTURE_MEMORY_LIMIT: each parcel holds its budget",
	"goproxy/ship: timers":          "two, once",
	"goproxy/tee: flying[]":         "an array of two",
	"internal/grpcdoor: all[]":      "maxParties",
	"internal/grpcdoor: byIP[]":     "Settings.Conns: an address goes with its last connection",
	"internal/grpcdoor: refused[]":  "the list of reasons, at the start",
	"pair: Chunks":                  "MaxChunks and CAPTURE_MEMORY_LIMIT",
	"pair: Interim":                 "maxInterim",
	"pair: Tags[]":                  "maxTags",
	"pair: current[]":               "an array of two",
	"pair: exchanges":               "MaxOpen: beyond it the connection is no longer taken apart",
	"pair: exchanges[]":             "an element of a list",
	"pair: first[]":                 "an array of two",
	"pair: last[]":                  "an array of two",
	"pair: rest":                    "CAPTURE_BODY_LIMIT and CAPTURE_MEMORY_LIMIT",
	"pair: text":                    "the room that it is made with",
}

// TestS23Bounds: nothing of what comes from outside queues up without a bound. A
// new slice, map or channel that grows in a hot room needs a line above that
// says what bounds it.
func TestS23Bounds(t *testing.T) {
	found := map[string]string{}
	for _, room := range hotRooms {
		err := filepath.WalkDir(room, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "test/") {
				return err
			}
			set := token.NewFileSet()
			f, err := parser.ParseFile(set, path, nil, 0)
			if err != nil {
				return fmt.Errorf("read %s: %w", path, err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if field := grows(n); field != "" {
					found[filepath.Dir(path)+": "+field] = set.Position(n.Pos()).String()
				}
				if size := channel(n); size != "" {
					t.Errorf("%s: a channel of %s: want a constant, a setting or a sum of them", set.Position(n.Pos()), size)
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, what := range slices.Sorted(maps.Keys(found)) {
		if growing[what] == "" {
			t.Errorf("%s: %q grows: say in bounds_test.go what bounds it", found[what], what)
		}
	}
	for _, what := range slices.Sorted(maps.Keys(growing)) {
		if found[what] == "" {
			t.Errorf("%q grows no more: take it out of bounds_test.go", what)
		}
	}
}

// grows names the field that a statement makes longer: x.f = append(x.f, …), or
// x.f[k] = v. A local variable ends with its call.
func grows(n ast.Node) string {
	s, ok := n.(*ast.AssignStmt)
	if !ok {
		return ""
	}
	for i, left := range s.Lhs {
		if at, ok := left.(*ast.IndexExpr); ok {
			// A slice's element is of no account, but which of the two it is
			// cannot be seen here: the table says.
			if f, ok := at.X.(*ast.SelectorExpr); ok && s.Tok == token.ASSIGN {
				return f.Sel.Name + "[]"
			}
			continue
		}
		f, ok := left.(*ast.SelectorExpr)
		if !ok || i >= len(s.Rhs) {
			continue
		}
		call, ok := s.Rhs[i].(*ast.CallExpr)
		if !ok {
			continue
		}
		if fn, ok := call.Fun.(*ast.Ident); ok && fn.Name == "append" {
			return f.Sel.Name
		}
	}
	return ""
}

// channel says what a channel's size is where that is not a constant, a setting
// or a sum of them.
func channel(n ast.Node) string {
	call, ok := n.(*ast.CallExpr)
	if !ok || len(call.Args) != 2 {
		return ""
	}
	fn, ok := call.Fun.(*ast.Ident)
	if _, is := call.Args[0].(*ast.ChanType); !ok || fn.Name != "make" || !is {
		return ""
	}
	bounded := true
	ast.Inspect(call.Args[1], func(n ast.Node) bool {
		if size, is := n.(*ast.CallExpr); is {
			if fn, is := size.Fun.(*ast.Ident); !is || fn.Name != "min" && fn.Name != "max" {
				bounded = false // len(…) of something, most likely
			}
		}
		return true
	})
	if bounded {
		return ""
	}
	return fmt.Sprintf("%T", call.Args[1])
}
