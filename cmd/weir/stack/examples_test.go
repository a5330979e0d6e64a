package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/weir-capture/weir/cmd/weir/cli"
	"github.com/weir-capture/weir/daemon"
)

// TestMain puts the whole of weir into PATH, for tests that run it as people
// do.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"weir": func() {
		ctx, stop := daemon.SignalContext(context.Background())
		defer stop()
		os.Exit(cli.Run(ctx, os.Args[1:], cli.IO{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, cli.Programs{
			Up: Up, Demo: Demo, Config: Config, Files: Files(os.Stderr),
			SpoolDir: os.Getenv("SPOOL_DIR"), DataDir: os.Getenv("DATA_DIR"),
		}))
	}})
}

// commands are all of weir's, as its help lists them.
func commands(t *testing.T) []string {
	t.Helper()
	var out bytes.Buffer
	if status := cli.Run(t.Context(), []string{"--help"}, cli.IO{Out: &out, Err: io.Discard}, cli.Programs{}); status != 0 {
		t.Fatalf("weir --help: status %d", status)
	}
	_, list, ok := strings.Cut(out.String(), "Commands:\n")
	if !ok {
		t.Fatalf("no commands in\n%s", out.String())
	}
	var names []string
	for line := range strings.Lines(list) {
		if !strings.HasPrefix(line, "  ") || strings.HasPrefix(line, "   ") {
			continue
		}
		var words []string
		for _, w := range strings.Fields(line) {
			if w[0] == '[' || w[0] == '<' || w[0] == '-' || len(w) > 0 && ('A' <= w[0] && w[0] <= 'Z') {
				break
			}
			words = append(words, w)
		}
		names = append(names, strings.Join(words, " "))
	}
	return names
}

// examples are the command lines in the help of a command.
func examples(t *testing.T, command string) []string {
	t.Helper()
	var out bytes.Buffer
	args := append(strings.Fields(command), "--help")
	if status := cli.Run(t.Context(), args, cli.IO{Out: &out, Err: io.Discard}, cli.Programs{}); status != 0 {
		t.Fatalf("weir %s --help: status %d", command, status)
	}
	_, text, ok := strings.Cut(out.String(), "Example:\n")
	if !ok {
		return nil
	}
	text, _, _ = strings.Cut(text, "Flags:\n")
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "weir ") || strings.HasPrefix(line, "curl ") {
			lines = append(lines, line)
		}
	}
	return lines
}

// world is where the examples are at home: an application called checkout that
// is captured, and a folder to write into.
type world struct {
	t                *testing.T
	dir, app, listen string
	env              []string
	key              string // the id that stands for KEY in examples
}

// newWorld is one whose application does not run.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), app: "127.0.0.1:1", listen: freeAddr(t)}
	drop := []string{"WEIR_URL", "WEIR_TOKEN", "DATA_DIR", "SPOOL_DIR", "LISTEN_ADDR", "DIAGNOSTICS_ADDR", "TMPDIR"}
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); !slices.Contains(drop, name) {
			w.env = append(w.env, e)
		}
	}
	w.env = append(w.env, "DATA_DIR="+filepath.Join(w.dir, "data"), "SPOOL_DIR="+filepath.Join(w.dir, "spool"), "LISTEN_ADDR=127.0.0.1:0", "DIAGNOSTICS_ADDR=", "TMPDIR="+w.dir, "TERM=dumb", "GORACE=atexit_sleep_ms=0")
	return w
}

// running is a command that goes on until it is told to stop.
type running struct {
	cmd  *exec.Cmd
	out  *safeBuffer
	done chan error
}

func (w *world) start(line string) *running {
	w.t.Helper()
	r := &running{cmd: exec.CommandContext(w.t.Context(), "bash", "-c", "exec "+line), out: &safeBuffer{}, done: make(chan error, 1)}
	r.cmd.Dir, r.cmd.Env, r.cmd.Stdout, r.cmd.Stderr = w.dir, w.env, r.out, r.out
	if err := r.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() { r.done <- r.cmd.Wait() }()
	return r
}

// until waits for something in the output.
func (r *running) until(t *testing.T, what string) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for !strings.Contains(r.out.String(), what) {
		select {
		case err := <-r.done:
			t.Fatalf("%s ended: %v\n%s", r.cmd, err, r.out.String())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: no %q in\n%s", r.cmd, what, r.out.String())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// stop is Ctrl-C.
func (r *running) stop(t *testing.T) {
	t.Helper()
	if err := r.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-r.done:
		if err != nil {
			t.Errorf("%s: %v\n%s", r.cmd, err, r.out.String())
		}
	case <-time.After(60 * time.Second):
		t.Fatalf("%s does not stop\n%s", r.cmd, r.out.String())
	}
}

func (w *world) run(line string) (string, error) {
	cmd := exec.CommandContext(w.t.Context(), "bash", "-c", line)
	cmd.Dir, cmd.Env = w.dir, w.env
	b, err := cmd.CombinedOutput()
	return string(b), err
}

// here puts the addresses of this test in the place of those of the examples.
func (w *world) here(line string) string {
	line = strings.ReplaceAll(line, "localhost:8080", w.app)
	line = strings.ReplaceAll(line, "localhost:4143", w.listen)
	line = strings.ReplaceAll(line, "/var/lib/weir/spool", filepath.Join(w.dir, "spool"))
	if w.key != "" {
		line = strings.ReplaceAll(line, " KEY", " "+w.key)
	}
	if strings.HasPrefix(line, "weir up ") {
		line += " --listen " + w.listen
	}
	return line
}

func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// doorExamples are those about who may do what, and about what is deleted.
func doorExamples(t *testing.T, w *world, try func(line string, status int, want string)) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, "password.txt"), []byte("correct horse battery\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	try("weir user list", 0, "There is no user")
	try("weir user link", 0, "/sign-in#setup=")
	try("weir user add grace --role admin --password-stdin < password.txt", 0, "grace may sign in as admin.")
	try("weir user link", 2, "")
	// Where there is no terminal nobody can be asked.
	try("weir user add ada --role investigator --scope app=checkout", 2, "--password-stdin")
	try("weir user add ada --role investigator --scope app=checkout --password-stdin < password.txt", 0, "ada may sign in as investigator.")
	try("weir user list -o json", 0, `"name":"ada","role":"investigator","scope":{"apps":["checkout"]`)
	try("weir user set ada --role operator --everything", 0, "ada is operator and sees everything.")
	try("weir user password ada --password-stdin < password.txt", 0, "ada has a new password.")
	try("weir user disable ada", 0, "ada may not sign in any more.")
	try("weir user set ada --enable", 0, "ada is operator")
	try("weir user delete ada", 0, "ada is removed.")
	try("weir user delete grace", 2, "admin") // somebody has to be left

	try("weir key create reports --role viewer --scope app=checkout --expires 90d", 0, "\nweir_")
	try("weir key create --forwarder east > forwarder.list", 0, "told this once")
	try("weir key create --proxy checkout --pod checkout-1 > goproxy.env", 0, "told this once")
	list, err := os.ReadFile(filepath.Join(w.dir, "forwarder.list"))
	for _, want := range []string{"ANALYZER_ADDR=127.0.0.1:", "ANALYZER_TOKEN=weir_", "DLP_KEY=", "DLP_CONFIG=standard", "CLUSTER_NAME=east"} {
		if err != nil || !strings.Contains(string(list), "\n"+want) && !strings.HasPrefix(string(list), want) {
			t.Errorf("forwarder.list has no %s: %v\n%s", want, err, list)
		}
	}
	try("weir key list", 0, "reports")
	out, err := w.run("weir key list -o json | grep '\"name\":\"reports\"'")
	if err != nil {
		t.Fatal(err)
	}
	_, id, _ := strings.Cut(out, `"id":"`)
	w.key, _, _ = strings.Cut(id, `"`)
	try("weir key list -o json", 0, w.key)
	try("weir key revoke KEY", 0, "Revoked: "+w.key)
	try("weir key list", 0, "revoked ")

	try("weir audit list", 0, "user")
	try("weir audit list --limit 1000 -o json", 0, `"result":"ok"`)
	try("weir audit export --file audit.jsonl", 0, "events in audit.jsonl.")
	try("weir audit verify", 0, "as they were written")

	try("weir delete 'app:checkout path:/pay*'", 0, "Nothing was deleted.")
	try("weir delete --yes 100 'app:checkout path:/pay*'", 0, " deleted, ")
	try("weir query 'app:checkout path:/pay*'", 0, "No pair matches.")
	try("weir delete --day 2026-11-20", 2, "has a key") // it is not encrypted
	try("weir audit verify", 0, "as they were written")
}

// TestExamples runs every example of every command's help against a real
// stack, through its control socket.
func TestExamples(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/pay" {
			http.Error(w, "card declined", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "hello", r.URL.Path)
	}))
	defer app.Close()
	w := newWorld(t)
	w.app = strings.TrimPrefix(app.URL, "http://")
	data := filepath.Join(w.dir, "data")

	left := map[string]bool{} // examples that were not run yet
	for _, c := range commands(t) {
		lines := examples(t, c)
		if len(lines) == 0 {
			t.Errorf("weir %s: no example in its help", c)
		}
		for _, l := range lines {
			left[l] = true
		}
	}
	ran := func(line string) {
		if !left[line] {
			t.Errorf("%q is no example", line)
		}
		delete(left, line)
	}
	try := func(line string, status int, want string) {
		t.Helper()
		delete(left, line)
		out, err := w.run(w.here(line))
		got := 0
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			got = exit.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		if got != status || !strings.Contains(out, want) {
			t.Errorf("%s: status %d, want %d and %q\n%s", line, got, status, want, out)
		}
	}

	const up = "weir up --to localhost:8080 --app checkout"
	stack := w.start(w.here(up))
	stack.until(t, "Ctrl-C  stops")
	ran(up)
	const tail = "weir tail 'status:5xx'"
	follow := w.start(w.here(tail))
	try("curl http://localhost:4143/", 0, "hello /")
	// A pair of the id that the examples show.
	const id = "01997b2c-6d3f-7c44-9d6e-2f6a31c0b8aa"
	pair := fmt.Sprintf(`{"v":1,"id":%q,"protocol":"http","method":"GET","host":"a","path":"/","status":200,"conn":0,"seq":0,"timing":{"request_first":%q},"request":{"head":"GET / HTTP/1.1\r\nHost: a\r\n\r\n"}}`, id, time.Now().UTC().Format(time.RFC3339Nano))
	if err := os.WriteFile(filepath.Join(w.dir, "checkout.jsonl"), []byte(pair+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	try("weir import --format jsonl --app checkout - < checkout.jsonl", 0, "1 pair stored.")
	deadline := time.Now().Add(60 * time.Second)
	for !strings.Contains(follow.out.String(), "/pay") { // the tail may stand only now
		if _, err := w.run("curl -s http://" + w.listen + "/pay"); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(deadline) {
			t.Fatalf("the tail shows nothing:\n%s", follow.out.String())
		}
	}
	follow.stop(t)
	ran(tail)

	for line := range left {
		command := strings.Fields(line)[1]
		switch command {
		case "show", "query", "curl", "version", "completion":
			try(line, 0, "")
		case "stats":
			try(line, 0, "")
		}
	}
	try("weir show "+id, 0, "GET / HTTP/1.1")
	try("weir query -o json app:checkout", 0, id)
	try("weir export --file errors.har 'status:5xx'", 0, "in errors.har.")
	try("weir export --file day.parquet --from 24h", 0, "in day.parquet.")
	try("weir export --format jsonl 'app:checkout' > checkout.jsonl", 0, "")
	try("weir import errors.har", 0, "0 pairs stored, ")
	try("weir export --format jsonl --file pairs.jsonl", 0, "in pairs.jsonl.")
	try("weir dlp test --rules standard+pii --in pairs.jsonl", 0, "0 with something to take")
	// The forwarder that runs has the spool: not all could be looked at.
	try("weir dlp scan --from 24h", 2, "0 with something to take")
	try("SPOOL_DIR= weir dlp scan --from 24h", 0, "0 with something to take")
	secret := strings.Replace(strings.Replace(pair, id, "01997b2c-6d3f-7c44-9d6e-2f6a31c0b8ab", 1), `Host: a\r\n`, `Host: a\r\nAuthorization: Bearer abc\r\n`, 1)
	if err := os.WriteFile(filepath.Join(w.dir, "secret.jsonl"), []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	try("weir dlp test --in secret.jsonl", 0, "request.header.authorization")
	try("weir import secret.jsonl", 0, "1 pair stored.")
	try("weir dlp scan --from 24h", 2, "1 with something to take")
	try("SPOOL_DIR= weir dlp scan --from 24h", 1, "1 with something to take")
	try("weir ledger", 0, "The sum holds")
	try("weir ledger --app checkout --from 1h", 0, "checkout")
	try("weir ledger -o json", 0, `"holds":true`)
	try("weir why --path /pay --method POST --around 2026-11-23T12:04:05Z", 0, "")
	try("weir why --app checkout --path '/orders/*' --around 10m --within 5m", 0, "")
	doorExamples(t, w, try)
	// While it runs by the API; the files are somebody's.
	try("weir backup weir.tar", 0, "Everything is in weir.tar.")
	try("weir restore --data ./restored weir.tar", 0, "Restored into ./restored.")
	try("weir store verify --data "+data, 1, "stop the analyzer first")
	try("weir store verify --data ./restored", 0, "All that was stored can be read.")
	try("weir store rebuild --data ./restored", 0, "The index is new.")
	stack.stop(t)
	// Afterwards by the files.
	try("weir dlp scan --no-store --spool /var/lib/weir/spool", 0, "0 with something to take")
	try("weir backup again.tar", 0, "Everything is in again.tar.")

	for _, line := range []string{"weir doctor", "weir doctor --env-file goproxy.env --env-file forwarder.list"} {
		// What it finds of this machine is not ours to say.
		for name, text := range map[string]string{"goproxy.env": "APP_LABEL=a\n", "forwarder.list": "CLUSTER_NAME=c\n"} {
			if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if out, err := w.run(line); err != nil && !strings.Contains(out, "warning") && !strings.Contains(out, "failure") {
			t.Errorf("%s: %v\n%s", line, err, out)
		}
		ran(line)
	}
	w.env = append(w.env, "DATA_DIR="+filepath.Join(w.dir, "demo"), "SPOOL_DIR="+filepath.Join(w.dir, "demospool"))
	try("weir demo --once", 0, "stored once, bodies equal")
	shop := w.start("weir demo")
	shop.until(t, "A few requests a second")
	shop.stop(t)
	ran("weir demo")
	for line := range left {
		t.Errorf("not run: %s", line)
	}
}
