package control_test

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-capture/weir/analyzer/control"
	"github.com/weir-capture/weir/analyzer/control/controltest"
)

func open(t testing.TB, driver, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func fresh(t testing.TB) string { return filepath.Join(t.TempDir(), "control.db") }

func store(t testing.TB, dsn string) *control.Store {
	t.Helper()
	s, err := control.Open(t.Context(), dsn, control.Options{Argon: control.Argon{Memory: 64, Time: 1, Threads: 1}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestSQLite(t *testing.T) {
	controltest.Run(t, controltest.Backend{Driver: "sqlite", Fresh: fresh})
}

// TestS31FilesAreForTheirOwnerOnly: whatever the umask, and whatever somebody
// did to the file.
func TestS31FilesAreForTheirOwnerOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b?c#d%41", "data") // no part of an address
	file := filepath.Join(dir, "control.db")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o666); err != nil {
		t.Fatal(err)
	}
	s := store(t, file)
	if err := s.Audit(t.Context(), control.Event{Action: "x"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Snapshot(t.Context(), filepath.Join(dir, control.SnapshotName)); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, e.Name())
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", e.Name(), info.Mode())
		}
	}
	if got := strings.Join(names, " "); got != "control.db control.db-shm control.db-wal control.db.audit control.snapshot" {
		t.Errorf("files: %s", got)
	}
}

// TestS31AddressesStayOutOfErrors: no error, and nothing that is logged, has
// the password of CONTROL_STORE.
func TestS31AddressesStayOutOfErrors(t *testing.T) {
	const secret = "hunter2"
	for _, dsn := range []string{
		"postgres://me:" + secret + "@127.0.0.1:1/weir?connect_timeout=2",
		"postgres://me:" + secret + "%zz@h/weir", "postgres://me:" + secret + "@h:port/weir",
		"postgresql://me:p" + secret + "@h/weir?sslmode=" + secret, "mysql://me:" + secret + "@h/weir", "",
	} {
		var log bytes.Buffer
		_, err := control.Open(t.Context(), dsn, control.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err == nil {
			t.Fatalf("opened %s", dsn)
		}
		if strings.Contains(err.Error()+log.String(), secret) {
			t.Errorf("%v %s", err, &log)
		}
	}
	// Nor what carries a password within the program.
	var log bytes.Buffer
	l := slog.New(slog.NewJSONHandler(&log, nil))
	p := secret
	l.Info("x", "new", control.NewUser{Name: "a", Password: secret}, "change", control.UserChange{Password: &p}, "session", control.Session{Token: secret})
	if strings.Contains(log.String(), secret) {
		t.Error(log.String())
	}
}

// TestS07SameWork: a sign-in that is refused has hashed a password as often as
// one that is not, whyever it is refused. Each hash takes 8 MiB.
func TestS07SameWork(t *testing.T) {
	const memory = 8 << 20
	s, err := control.Open(t.Context(), fresh(t), control.Options{Argon: control.Argon{Memory: memory >> 10, Time: 1, Threads: 1}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, name := range []string{"ann", "off", "locked"} {
		if _, err := s.CreateUser(t.Context(), control.NewUser{Name: name, Password: "correct horse battery", Role: control.RoleAdmin}); err != nil {
			t.Fatal(err)
		}
	}
	off := true
	if _, err := s.SetUser(t.Context(), "off", control.UserChange{Disabled: &off}); err != nil {
		t.Fatal(err)
	}
	for range 6 {
		if _, _, err := s.SignIn(t.Context(), "locked", "x", ""); !errors.Is(err, control.ErrDenied) {
			t.Fatal(err)
		}
	}
	for what, try := range map[string][2]string{
		"right": {"ann", "correct horse battery"}, "wrong": {"ann", "x"}, "unknown": {"nobody", "correct horse battery"},
		"disabled": {"off", "correct horse battery"}, "locked": {"locked", "correct horse battery"},
		"too long": {"ann", strings.Repeat("x", 5000)}, "no name": {"", ""},
	} {
		work := allocated(func() {
			if _, _, err := s.SignIn(t.Context(), try[0], try[1], ""); err != nil && !errors.Is(err, control.ErrDenied) {
				t.Error(err)
			}
		})
		if work < memory || work >= 2*memory {
			t.Errorf("%s: %d bytes, want one hash", what, work)
		}
	}
}

// TestS07BusyIsBounded: more sign-ins at once than may wait are told so, and
// count against nobody.
func TestS07BusyIsBounded(t *testing.T) {
	s, err := control.Open(t.Context(), fresh(t), control.Options{Argon: control.Argon{Memory: 32 << 10, Time: 4, Threads: 1}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.CreateUser(t.Context(), control.NewUser{Name: "ann", Password: "correct horse battery", Role: control.RoleAdmin}); err != nil {
		t.Fatal(err)
	}
	// The queue has room for 32: fill it with callers who wait, then give up.
	ctx, giveUp := context.WithCancel(t.Context())
	var busy sync.Once
	full := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			_, _, err := s.SignIn(ctx, fmt.Sprint("guess", i), "x", "")
			if errors.Is(err, control.ErrBusy) {
				busy.Do(func() { close(full) })
			}
		})
	}
	select {
	case <-full:
	case <-time.After(30 * time.Second):
		t.Error("60 at once, and nobody was told to wait")
	}
	giveUp()
	wg.Wait()
	if _, _, err := s.SignIn(t.Context(), "ann", "correct horse battery", ""); err != nil {
		t.Error(err)
	}
}

// TestS27AnchorRemovedIsSaid: without its anchor a log that proves itself is not
// called anchored; a damaged anchor is a problem.
func TestS27AnchorRemovedIsSaid(t *testing.T) {
	dsn := fresh(t)
	s := store(t, dsn)
	if err := s.Audit(t.Context(), control.Event{Action: "x"}); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(dsn + ".audit"); err != nil {
		t.Fatal(err)
	}
	if r, err := store(t, dsn).VerifyAudit(t.Context()); err != nil || !r.Intact || r.Anchored {
		t.Errorf("removed: %+v, %v", r, err)
	}
	if err := os.WriteFile(dsn+".audit", []byte("weir-audit 1 nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := store(t, dsn).VerifyAudit(t.Context()); err != nil || r.Intact || !strings.Contains(r.Problem, "damaged") {
		t.Errorf("damaged: %+v, %v", r, err)
	}
}

// TestSnapshotIsAdopted: what a restored backup has beside an absent database
// becomes the database.
func TestSnapshotIsAdopted(t *testing.T) {
	from := fresh(t)
	s := store(t, from)
	key, err := s.DLPKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dsn := fresh(t)
	snapshot := filepath.Join(filepath.Dir(dsn), control.SnapshotName)
	if err := s.Snapshot(t.Context(), snapshot); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(snapshot)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := store(t, dsn).DLPKey(t.Context()); err != nil || got != key {
		t.Errorf("another key: %v", err)
	}
	if after, err := os.ReadFile(snapshot); err != nil || !bytes.Equal(before, after) {
		t.Error("the snapshot changed", err)
	}
	// Later it is not looked at.
	if err := os.WriteFile(snapshot, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	store(t, dsn)
	damaged := fresh(t)
	if err := os.WriteFile(filepath.Join(filepath.Dir(damaged), control.SnapshotName), []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := control.Open(t.Context(), damaged, control.Options{}); err == nil {
		t.Error("began anew beside a snapshot that is damaged")
	}
	if _, err := os.Stat(damaged); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left a database: %v", err)
	}
}

// TestOpenRefuses: a folder, and a file that is no database.
func TestOpenRefuses(t *testing.T) {
	file := fresh(t)
	if err := os.WriteFile(file, bytes.Repeat([]byte("not a database\n"), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dsn := range []string{t.TempDir(), file} {
		if _, err := control.Open(t.Context(), dsn, control.Options{}); err == nil {
			t.Errorf("opened %s", dsn)
		}
	}
}

// TestS27KillMinusNine: a process that is killed in the middle of its writes
// leaves a log that is whole, with every event that it had been told was
// durable.
func TestS27KillMinusNine(t *testing.T) {
	dsn := fresh(t)
	told := int64(0)
	for round := range 4 {
		c := startChild(t, dsn, 1_000_000)
		for range 20 + 7*round {
			if !c.lines.Scan() {
				t.Fatalf("the child ended: %v", c.lines.Err())
			}
			told++
		}
		if err := c.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for c.lines.Scan() { // what it had said before it died
			if _, err := strconv.Atoi(c.lines.Text()); err == nil {
				told++
			}
		}
		_ = c.cmd.Wait() // killed
		s := store(t, dsn)
		r, err := s.VerifyAudit(t.Context())
		if err != nil || !r.Intact || !r.Anchored {
			t.Fatalf("round %d: %+v, %v", round, r, err)
		}
		if r.Events < told {
			t.Fatalf("round %d: %d events, and %d were durable", round, r.Events, told)
		}
		told = r.Events
	}
}

// TestTwoProcesses write one file at once.
func TestTwoProcesses(t *testing.T) {
	dsn := fresh(t)
	s := store(t, dsn)
	const each = 60
	a, b := startChild(t, dsn, each), startChild(t, dsn, each)
	for range each {
		if err := s.Audit(t.Context(), control.Event{Action: "parent", Result: control.ResultOK}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []*childProcess{a, b} {
		for c.lines.Scan() {
			continue
		}
		if err := c.cmd.Wait(); err != nil {
			t.Fatalf("%v: %s", err, c.stderr.String())
		}
	}
	if r, err := s.VerifyAudit(t.Context()); err != nil || !r.Intact || !r.Anchored || r.Events != 3*each {
		t.Errorf("%+v, %v", r, err)
	}
}

const childEnv = "WEIR_CONTROL_TEST_CHILD"

// child writes events, and a line for each that is durable.
func child() int {
	n, _ := strconv.Atoi(os.Getenv(childEnv + "_EVENTS"))
	s, err := control.Open(context.Background(), os.Getenv(childEnv), control.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for i := range n {
		if err := s.Audit(context.Background(), control.Event{Action: "child", Detail: strings.Repeat("x", i%900), Result: control.ResultOK}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Println(i)
	}
	if err := s.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

type childProcess struct {
	cmd    *exec.Cmd
	lines  *bufio.Scanner
	stderr *bytes.Buffer
}

func startChild(t *testing.T, dsn string, events int) *childProcess {
	t.Helper()
	c := &childProcess{cmd: exec.CommandContext(t.Context(), os.Args[0]), stderr: new(bytes.Buffer)}
	c.cmd.Env = append(os.Environ(), childEnv+"="+dsn, fmt.Sprint(childEnv, "_EVENTS=", events))
	c.cmd.Stderr = c.stderr
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.lines = bufio.NewScanner(out)
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}
