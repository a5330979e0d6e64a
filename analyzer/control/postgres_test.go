package control_test

import (
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/weir-capture/weir/analyzer/control"
	"github.com/weir-capture/weir/analyzer/control/controltest"
	"github.com/weir-capture/weir/e2e/harness"
)

func TestPostgres(t *testing.T) {
	dir := t.TempDir()
	controltest.Run(t, controltest.Backend{
		Driver: "pgx",
		Fresh:  func(t testing.TB) string { return server(t).database(t) },
		Anchor: func(dsn string) string {
			u, err := url.Parse(dsn)
			if err != nil {
				t.Fatal(err)
			}
			return filepath.Join(dir, filepath.Base(u.Path)+".audit")
		},
	})
}

// TestS27PostgresWithoutAnAnchor: without a file the log still proves itself,
// and says that its end is proven by nothing else.
func TestS27PostgresWithoutAnAnchor(t *testing.T) {
	s, err := control.Open(t.Context(), server(t).database(t), control.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Audit(t.Context(), control.Event{Action: "x"}); err != nil {
		t.Fatal(err)
	}
	if r, err := s.VerifyAudit(t.Context()); err != nil || !r.Intact || r.Anchored || r.Events != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestPostgresGoesAway: a server that stops is an error each time, and nothing
// hangs; when it is back, so is the store.
func TestPostgresGoesAway(t *testing.T) {
	p := startPostgres(t)
	defer func() {
		p.stop(t)
		if err := os.RemoveAll(p.dir); err != nil {
			t.Error(err)
		}
	}()
	s, err := control.Open(t.Context(), p.database(t), control.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, secret, err := s.CreateKey(t.Context(), control.NewKey{Name: "k", Kind: control.KeyProxy})
	if err != nil {
		t.Fatal(err)
	}
	p.stop(t)
	if err := s.Ping(t.Context()); err == nil {
		t.Error("answers without a server")
	}
	if _, err := s.KeyIdentity(t.Context(), secret); err == nil {
		t.Error("knows a key without a server")
	}
	if err := s.Audit(t.Context(), control.Event{Action: "x"}); err == nil {
		t.Error("writes the audit log without a server")
	}
	p.start(t)
	if _, err := s.KeyIdentity(t.Context(), secret); err != nil {
		t.Errorf("the server is back: %v", err)
	}
}

// postgresServer is a cluster of the test's own: a folder, a socket in it, no
// port.
type postgresServer struct {
	dir     string
	process *os.Process
	exited  chan error
	made    atomic.Int64
}

var shared struct {
	once sync.Once
	*postgresServer
}

// server is the one for all tests of this package.
func server(t testing.TB) *postgresServer {
	t.Helper()
	shared.once.Do(func() { shared.postgresServer = startPostgres(t) })
	if shared.postgresServer == nil {
		t.Fatal("PostgreSQL did not start")
	}
	return shared.postgresServer
}

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(child())
	}
	code := m.Run()
	if p := shared.postgresServer; p != nil {
		if err := p.end(); err != nil {
			fmt.Fprintln(os.Stderr, "end PostgreSQL:", err)
			code = 1
		}
		if err := os.RemoveAll(p.dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// ordinary is how to run a server that refuses to run as root.
func ordinary(t testing.TB) (*syscall.SysProcAttr, int, int) {
	t.Helper()
	if os.Geteuid() != 0 {
		return &syscall.SysProcAttr{}, os.Getuid(), os.Getgid()
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		if u, err = user.Lookup("nobody"); err != nil {
			t.Fatal(err)
		}
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		t.Fatal(err)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		t.Fatal(err)
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, uid, gid
}

func startPostgres(t testing.TB) *postgresServer {
	t.Helper()
	harness.Need(t, "postgres", "initdb")
	// Not t.TempDir: the path of a socket has room for some hundred bytes.
	dir, err := os.MkdirTemp("", "weir-pg")
	if err != nil {
		t.Fatal(err)
	}
	attr, uid, gid := ordinary(t)
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	p := &postgresServer{dir: dir}
	init := exec.CommandContext(t.Context(), harness.LookPath(t, "initdb"), "-D", filepath.Join(dir, "data"), "-U", "weir", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	init.SysProcAttr, init.Dir = attr, dir
	if out, err := init.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	p.start(t)
	return p
}

func (p *postgresServer) start(t testing.TB) {
	t.Helper()
	attr, _, _ := ordinary(t)
	// It ends with this process, however that ends: the kernel tells it when
	// the thread that began it is gone, so that thread stays.
	attr.Pdeathsig = syscall.SIGINT
	cmd := exec.Command(harness.LookPath(t, "postgres"), "-D", filepath.Join(p.dir, "data"), "-k", p.dir,
		"-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=100", "-c", "shared_buffers=16MB")
	cmd.SysProcAttr, cmd.Dir = attr, p.dir
	log, err := os.OpenFile(filepath.Join(p.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	p.exited = make(chan error, 1)
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocks: the thread ends with the goroutine
		err := cmd.Start()
		started <- err
		if err == nil {
			p.exited <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	p.process = cmd.Process
	deadline := time.Now().Add(60 * time.Second)
	for {
		s, err := control.Open(t.Context(), p.dsn("postgres"), control.Options{})
		if err == nil {
			// The database of the server itself is as good as another for this.
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return
		}
		select {
		case err := <-p.exited:
			out, _ := os.ReadFile(log.Name())
			t.Fatalf("postgres ended: %v\n%s", err, out)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("postgres does not answer: %v", err)
		}
	}
}

func (p *postgresServer) dsn(database string) string {
	return (&url.URL{Scheme: "postgres", User: url.User("weir"), Path: "/" + database, RawQuery: url.Values{"host": {p.dir}}.Encode()}).String()
}

// database makes an empty one.
func (p *postgresServer) database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprint("test", p.made.Add(1))
	db := open(t, "pgx", p.dsn("postgres"))
	if _, err := db.ExecContext(t.Context(), `CREATE DATABASE `+name); err != nil {
		t.Fatal(err)
	}
	return p.dsn(name)
}

// end asks for a fast shutdown, and waits.
func (p *postgresServer) end() error {
	if p.process == nil {
		return nil
	}
	if err := p.process.Signal(syscall.SIGINT); err != nil {
		return err
	}
	p.process = nil
	select {
	case err := <-p.exited:
		return err
	case <-time.After(30 * time.Second):
		return fmt.Errorf("it goes on: %w", fs.ErrInvalid)
	}
}

func (p *postgresServer) stop(t testing.TB) {
	t.Helper()
	if err := p.end(); err != nil {
		t.Error(err)
	}
}
