package doors

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/emptypb"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/e2e/harness"
	"github.com/weir-capture/weir/internal/tlsfiles/tlstest"
)

var update = flag.Bool("update", false, "write the table of ports again")

const portsTable = "testdata/ports.md"

const portsHead = `# Who may call what, beside the viewer's API

What each method and route answers, by who asks, of programs that run with their
doors shut. It is written by ` + "`go test ./e2e/doors -run S08 -update`" + ` and read by
people; a method or route without a row fails the test. (The viewer's API has a
table of its own: analyzer/web/testdata/routes.md.)

gRPC: ` + "`Unauthenticated`" + ` is nobody, ` + "`PermissionDenied`" + ` somebody who may not, and
everything else was let in: the call is empty, which each method minds in its own
way. HTTP: goproxy's ports for operators, on the loopback, as they are when
DIAGNOSTICS_ADDR, DIAGNOSTICS_PPROF and METRICS_HTTP_ENABLE are set.

| port | method or route | nobody | wrong token | revoked token | key of a person | its own token |
|---|---|---|---|---|---|---|
`

// calls are all methods of our services, and some that are nobody's: whether
// they exist must not be told to those who may not ask.
func calls() []string {
	var all []string
	protoregistry.GlobalFiles.RangeFilesByPackage(capturev1.File_api_capture_v1_pair_proto.Package(), func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				all = append(all, fmt.Sprintf("/%s/%s", s.FullName(), s.Methods().Get(j).Name()))
			}
		}
		return true
	})
	slices.Sort(all) // those of the analyzer's ingest first
	return append(all,
		"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
		"/grpc.health.v1.Health/Check",
		"/nobody.knows/This",
	)
}

// ask calls a method without a message, and says how that ended. Each has a
// connection of its own: one on which too much was refused is closed.
func ask(t *testing.T, dial func() *grpc.ClientConn, method, token string) string {
	t.Helper()
	conn := dial()
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method)
	if err == nil {
		err = errors.Join(stream.SendMsg(&emptypb.Empty{}), stream.CloseSend())
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = stream.RecvMsg(&emptypb.Empty{})
	}
	if err == nil || errors.Is(err, io.EOF) {
		return codes.OK.String()
	}
	return status.Code(err).String()
}

// TestS08Ports holds every gRPC method of the programs, and every route of
// goproxy's ports for operators, to the committed table.
func TestS08Ports(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	const revoked, second = "revoked-token-0123456789", "second-token-0123456789"
	tlstest.Replace(t, s.tokens, []byte("ip-192-* "+right+"\nip-10-* "+revoked+"\n"))
	s.AnalyzerEnv["TLS_CERT_FILE"], s.AnalyzerEnv["TLS_KEY_FILE"] = s.ca.Write(t, s.Dir, tlstest.Leaf{Name: "analyzer"})
	s.AnalyzerEnv["INGEST_ADDR"] = "0.0.0.0:" + strconv.Itoa(s.IngestPort)
	diagnostics, metrics := harness.Port(t), harness.Port(t)
	s.ProxyEnv["DIAGNOSTICS_ADDR"], s.ProxyEnv["DIAGNOSTICS_PPROF"] = harness.Addr(diagnostics), "true"
	s.ProxyEnv["METRICS_HTTP_ENABLE"], s.ProxyEnv["METRICS_HTTP_PORT"] = "true", strconv.Itoa(metrics)
	s.LaunchAnalyzer()
	s.Analyzer.WaitMessage(30*time.Second, "Viewer and API")
	s.StartForwarder()
	s.StartProxy()

	pool := x509.NewCertPool()
	pem, err := os.ReadFile(s.authority)
	if err != nil || !pool.AppendCertsFromPEM(pem) {
		t.Fatalf("authority: %v", err)
	}
	dial := func(port int) func() *grpc.ClientConn {
		return func() *grpc.ClientConn {
			conn, err := grpc.NewClient(harness.Addr(port), grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12})))
			if err != nil {
				t.Fatal(err)
			}
			return conn
		}
	}
	forwarder, analyzer := dial(s.ForwarderPort), dial(s.IngestPort)

	token := func(args ...string) (id, secret string) {
		t.Helper()
		out := s.weir(append([]string{"key", "create"}, args...)...)
		found := regexp.MustCompile(`weir_[a-z]_([0-9A-Za-z]+)_[0-9A-Za-z]+`).FindStringSubmatch(out)
		if found == nil {
			t.Fatalf("weir key create %s: no secret in\n%s", args, out)
		}
		return found[1], found[0]
	}
	at := harness.Addr(s.IngestPort)
	_, own := token("--forwarder", "edge", "--addr", at)
	goneID, gone := token("--forwarder", "gone", "--addr", at)
	_, person := token("--role", "admin", "person")
	s.weir("key", "revoke", goneID)
	tlstest.Replace(t, s.tokens, []byte("ip-192-* "+right+"\n"))
	const register = "/weir.capture.v1.ProxyService/Register"
	harness.Poll(t, 60*time.Second, "the end of what was revoked", func() error {
		if got := ask(t, forwarder, register, revoked); got != codes.Unauthenticated.String() {
			return fmt.Errorf("forwarder: %s", got)
		}
		if got := ask(t, analyzer, calls()[0], gone); got != codes.Unauthenticated.String() {
			return fmt.Errorf("analyzer: %s", got)
		}
		return nil
	})

	var table strings.Builder
	table.WriteString(portsHead)
	row := func(port, route string, answers ...string) {
		fmt.Fprintf(&table, "| %s | `%s` | %s |\n", port, route, strings.Join(answers, " | "))
	}
	for _, method := range calls() {
		row("forwarder, SERVICE_PORT", method, ask(t, forwarder, method, ""), ask(t, forwarder, method, second),
			ask(t, forwarder, method, revoked), ask(t, forwarder, method, person), ask(t, forwarder, method, right))
	}
	for _, method := range calls() {
		row("analyzer, INGEST_ADDR", method, ask(t, analyzer, method, ""), ask(t, analyzer, method, wrong),
			ask(t, analyzer, method, gone), ask(t, analyzer, method, person), ask(t, analyzer, method, own))
	}
	harness.WaitPort(t, diagnostics)
	harness.WaitPort(t, metrics)
	for _, route := range routes(t) {
		port, name := diagnostics, "goproxy, DIAGNOSTICS_ADDR"
		if strings.HasSuffix(route, " /metrics") {
			port, name = metrics, "goproxy, METRICS_HTTP_PORT"
		}
		answer := get(t, port, strings.TrimSuffix(strings.TrimPrefix(route, "GET "), "{$}"), "")
		row(name, route, answer, "–", "–", "–", "–")
	}
	row("goproxy, DIAGNOSTICS_ADDR", "GET / with a foreign Host", get(t, diagnostics, "/", "attacker.example"), "–", "–", "–", "–")
	row("goproxy, DIAGNOSTICS_ADDR", "GET /nothing", get(t, diagnostics, "/nothing", ""), "–", "–", "–", "–")

	if *update {
		if err := os.WriteFile(portsTable, []byte(table.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(portsTable)
	if err != nil {
		t.Fatal(err)
	}
	if table.String() != string(want) {
		t.Errorf("%s says something else; what is:\n%s", portsTable, table.String())
	}
	for line := range strings.Lines(table.String()) {
		if f := strings.Split(line, "|"); len(f) == 9 && strings.Contains(f[2], "/") && strings.Contains(f[1], "_") && !strings.Contains(f[1], "goproxy") {
			for _, outsider := range f[3:7] {
				if got := strings.TrimSpace(outsider); got != codes.Unauthenticated.String() && got != codes.PermissionDenied.String() {
					t.Errorf("somebody who may not was let in: %s", line)
				}
			}
		}
	}
}

// get asks a port for operators, and answers with the status.
func get(t *testing.T, port int, path, host string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if path == "/debug/pprof/profile" || path == "/debug/pprof/trace" {
		path += "?seconds=1"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort("127.0.0.1", strconv.Itoa(port))+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body) // its length is of no interest
	return strconv.Itoa(resp.StatusCode)
}

// routes are the patterns that programs mount beside the viewer's API, which has
// its own table: those of calls of Handle and HandleFunc in the source.
func routes(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, room := range []string{"goproxy", "forwarder", "analyzer", "daemon", "internal", "cmd"} {
		err := filepath.WalkDir(filepath.Join("..", "..", room), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() && filepath.Base(filepath.Dir(path)) == "analyzer" && d.Name() == "web" {
				return fs.SkipDir
			}
			if filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return nil
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok || len(call.Args) != 2 {
					return true
				}
				f, ok := call.Fun.(*ast.SelectorExpr)
				if !ok || f.Sel.Name != "Handle" && f.Sel.Name != "HandleFunc" {
					return true
				}
				lit, ok := call.Args[0].(*ast.BasicLit)
				if !ok {
					t.Errorf("%s mounts a route whose pattern is not written there", path)
					return true
				}
				pattern, err := strconv.Unquote(lit.Value)
				if err != nil {
					t.Errorf("%s: %v", path, err)
				}
				all = append(all, pattern)
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
