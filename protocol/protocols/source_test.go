package protocols

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What the source of decoders is held to, so that one that blocks cannot be
// written, and one that spins cannot go unnoticed:
//
//   - it imports nothing that waits or keeps time;
//   - it has no goroutine, channel, select, recover or goto;
//   - every loop ends with what it goes over (a slice, a string, a map, as
//     often as something is long), or burns fuel as the first thing in each
//     turn;
//   - no function comes to call itself.

// mayImport are what a decoder can be made of: nothing of it can wait, and all
// of it is linear in what it is given.
var mayImport = []string{
	"bytes", "cmp", "encoding/binary", "errors", "fmt", "math", "math/bits", "slices", "strconv", "strings", "unicode", "unicode/utf8",
	"golang.org/x/net/http2/hpack",
}

const module = "github.com/weir-capture/weir/protocol"

// source finds fault with packages.
type source struct {
	set    *token.FileSet
	info   types.Info
	faults []string
	calls  map[*types.Func][]*types.Func
	in     *types.Func // whose body is looked at
}

func newSource() *source {
	return &source{
		set:   token.NewFileSet(),
		info:  types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}},
		calls: map[*types.Func][]*types.Func{},
	}
}

func (s *source) fault(n ast.Node, format string, args ...any) {
	at := s.set.Position(n.Pos())
	s.faults = append(s.faults, fmt.Sprintf("%s:%d: %s", filepath.Base(at.Filename), at.Line, fmt.Sprintf(format, args...)))
}

// check looks at one package.
func (s *source) check(imp types.Importer, path string, files []*ast.File) error {
	conf := types.Config{Importer: imp}
	if _, err := conf.Check(path, s.set, files, &s.info); err != nil {
		return err
	}
	for _, f := range files {
		for _, i := range f.Imports {
			if name := strings.Trim(i.Path.Value, `"`); !slices.Contains(mayImport, name) && !strings.HasPrefix(name+"/", module+"/") {
				s.fault(i, "imports %s", name)
			}
		}
		for _, d := range f.Decls {
			s.in = nil
			if fn, ok := d.(*ast.FuncDecl); ok {
				s.in, _ = s.info.Defs[fn.Name].(*types.Func)
			}
			ast.Inspect(d, s.node)
		}
	}
	s.cycles()
	return nil
}

func (s *source) node(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.GoStmt:
		s.fault(n, "a goroutine")
	case *ast.ChanType:
		s.fault(n, "a channel")
	case *ast.SendStmt, *ast.SelectStmt:
		s.fault(n, "waits for a channel")
	case *ast.UnaryExpr:
		if n.Op == token.ARROW {
			s.fault(n, "waits for a channel")
		}
	case *ast.BranchStmt:
		if n.Tok == token.GOTO {
			s.fault(n, "goto")
		}
	case *ast.ForStmt:
		if !s.burns(n.Body) {
			s.fault(n, "a loop without fuel")
		}
	case *ast.RangeStmt:
		if !s.bounded(n.X) && !s.burns(n.Body) {
			s.fault(n, "a loop over %s without fuel", s.info.TypeOf(n.X))
		}
	case *ast.Ident:
		switch obj := s.info.Uses[n].(type) {
		case *types.Builtin:
			if obj.Name() == "recover" {
				s.fault(n, "recovers")
			}
		case *types.Func:
			if s.in != nil && s.in.Pkg() == obj.Pkg() {
				s.calls[s.in] = append(s.calls[s.in], obj)
			}
		}
	}
	return true
}

// burns: the first thing in a loop's turn is to burn fuel.
func (s *source) burns(b *ast.BlockStmt) bool {
	if len(b.List) == 0 {
		return false
	}
	stmt, ok := b.List[0].(*ast.ExprStmt)
	if !ok {
		return false
	}
	call, ok := stmt.X.(*ast.CallExpr)
	if !ok {
		return false
	}
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	f, ok := s.info.Uses[sel.Sel].(*types.Func)
	return ok && f.FullName() == "(*"+module+".Fuel).Burn"
}

// bounded: x is something to go over that has an end, which was there before
// the loop.
func (s *source) bounded(x ast.Expr) bool {
	switch t := s.info.TypeOf(x).Underlying().(type) {
	case *types.Slice, *types.Array, *types.Pointer, *types.Map:
		return true
	case *types.Basic:
		if t.Info()&types.IsString != 0 {
			return true
		}
		// A number: a small constant, or the length of something.
		if v := s.info.Types[x].Value; v != nil {
			n, ok := constant.Int64Val(v)
			return ok && n <= 1<<20
		}
		call, ok := x.(*ast.CallExpr)
		if !ok {
			return false
		}
		f, ok := call.Fun.(*ast.Ident)
		return ok && f.Name == "len"
	case *types.Signature:
		// The standard library's ways through a slice.
		call, ok := x.(*ast.CallExpr)
		if !ok {
			return false
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return false
		}
		f := s.info.Uses[sel.Sel]
		return f != nil && f.Pkg() != nil && (f.Pkg().Path() == "bytes" || f.Pkg().Path() == "strings")
	}
	return false
}

// cycles finds functions that come to call themselves: depth costs stack, and
// no more stack ends the process.
func (s *source) cycles() {
	state := map[*types.Func]int{}
	var visit func(f *types.Func)
	visit = func(f *types.Func) {
		state[f] = 1
		for _, g := range s.calls[f] {
			switch state[g] {
			case 0:
				visit(g)
			case 1:
				s.faults = append(s.faults, fmt.Sprintf("%s and %s call each other", f.Name(), g.Name()))
			}
		}
		state[f] = 2
	}
	for f := range s.calls {
		if state[f] == 0 {
			visit(f)
		}
	}
}

func TestR23NoDecoderCanBlockOrSpin(t *testing.T) {
	dirs, err := filepath.Glob("../*")
	if err != nil {
		t.Fatal(err)
	}
	imp := importer.ForCompiler(token.NewFileSet(), "source", nil)
	seen := 0
	for _, dir := range dirs {
		name := filepath.Base(dir)
		if st, err := os.Stat(dir); err != nil || !st.IsDir() || name == "testdata" || name == "protocoltest" {
			continue
		}
		s := newSource()
		var files []*ast.File
		paths, _ := filepath.Glob(filepath.Join(dir, "*.go"))
		for _, p := range paths {
			if strings.HasSuffix(p, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(s.set, p, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, f)
		}
		if err := s.check(imp, module+"/"+name, files); err != nil {
			t.Fatalf("check %s: %v", name, err)
		}
		for _, f := range s.faults {
			t.Errorf("%s/%s", name, f)
		}
		seen += len(files)
	}
	if seen < 15 {
		t.Errorf("only %d files were looked at", seen)
	}
}

// TestR23TheSourceTestFindsFault: each of these is a decoder that could block
// or spin.
func TestR23TheSourceTestFindsFault(t *testing.T) {
	imp := importer.ForCompiler(token.NewFileSet(), "source", nil)
	for text, want := range map[string]string{
		`func f(b []byte) { for { } }`:                                                                 "a loop without fuel",
		`func f(b []byte) { for len(b) > 0 { } }`:                                                      "a loop without fuel",
		`func f(fuel *protocol.Fuel) { for { if true { fuel.Burn(1) } } }`:                             "a loop without fuel",
		`func f(fuel *protocol.Fuel) { for { fuel.Burn(1) } }`:                                         "",
		`func f(n int) { for range n { } }`:                                                            "a loop over int without fuel",
		`func f(n int, b []byte) { for range b { for range len(b) { } }; for i := range 3 { _ = i } }`: "",
		`func f(next func(func(int) bool)) { for range next { } }`:                                     "without fuel",
		`func f(b []byte) { for range bytes.Lines(b) { } }`:                                            "",
		`func f(c chan int) { <-c }`:                                                                   "a channel",
		`func f() { go g() }; func g() { }`:                                                            "a goroutine",
		`func f() { select {} }`:                                                                       "waits for a channel",
		`func f() { defer func() { recover() }() }`:                                                    "recovers",
		`func f() { again: goto again }`:                                                               "goto",
		`func f() { g() }; func g() { f() }`:                                                           "call each other",
		`type t struct{}; func (x t) f() { x.f() }`:                                                    "f and f call each other",
		`func f() { time.Sleep(1) }`:                                                                   "imports time",
	} {
		s := newSource()
		src := "package p\nimport (\n\"bytes\"\n\"" + module + "\"\n"
		if strings.Contains(text, "time.") {
			src += "\"time\"\n"
		}
		src += ")\nvar _ protocol.Fuel\nvar _ = bytes.Equal\n" + text
		f, err := parser.ParseFile(s.set, "p.go", src, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.check(imp, "p", []*ast.File{f}); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if got := strings.Join(s.faults, "; "); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s\n\tfound %q, want %q", text, got, want)
		}
	}
}
