// Package controltest holds every database of the control store to the same
// promises.
package controltest

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-capture/weir/analyzer/control"
)

// A Backend makes databases.
type Backend struct {
	// Fresh is the address of a new, empty store.
	Fresh func(t testing.TB) string
	// Driver is database/sql's name for looking into it from behind.
	Driver string
	// Anchor is where the anchor of the store at this address shall be; nil
	// leaves it to the store.
	Anchor func(dsn string) string
}

// Run runs the suite.
func Run(t *testing.T, b Backend) {
	for _, c := range []struct {
		name string
		test func(*testing.T, *world)
	}{
		{"S07SetupLinkWorksOnce", testSetup},
		{"S07SignInTellsNothing", testSignInTellsNothing},
		{"S07LockoutByName", testLockoutByName},
		{"S07LockoutByAddress", testLockoutByAddress},
		{"S07LockoutIsBounded", testLockoutIsBounded},
		{"S07PasswordsAreRehashed", testRehash},
		{"S07PasswordPolicy", testPasswordPolicy},
		{"S07LastAdminStays", testLastAdmin},
		{"S07ExternalUsers", testExternal},
		{"S10SessionsExpire", testSessionsExpire},
		{"S10SessionsRotate", testSessionsRotate},
		{"S10LostRotationSignsNobodyOut", testLostRotation},
		{"S10SessionsEnd", testSessionsEnd},
		{"S10SessionsAreBounded", testSessionsAreBounded},
		{"Users", testUsers},
		{"S05Keys", testKeys},
		{"S05RevokedEverywhereAtOnce", testRevoked},
		{"S05SpoolsBelongToKeys", testSpools},
		{"DLPKeyRotates", testDLPKey},
		{"Views", testViews},
		{"S27AuditPages", testAuditPages},
		{"S27AuditHoldsNoSecrets", testAuditHoldsNoSecrets},
		{"S27AuditIsAppendOnly", testAuditIsAppendOnly},
		{"S27AuditTampering", testAuditTampering},
		{"S27AuditAnchorStaysAsEvidence", testAnchorStays},
		{"S31NothingSecretIsStoredInClear", testNothingInClear},
		{"OddTextFindsNothing", testOddText},
		{"ConcurrentUse", testConcurrentUse},
		{"OpenedTogether", testOpenedTogether},
		{"NewerIsRefused", testNewer},
		{"BackupAndRestore", testBackup},
		{"SweepRemovesWhatExpired", testSweep},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &world{T: t, b: b, dsn: b.Fresh(t), now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
			w.Store = w.open()
			c.test(t, w)
		})
	}
}

const password = "correct horse battery"

// Cheap is a cost of passwords for tests.
var cheap = control.Argon{Memory: 64, Time: 1, Threads: 1}

// world is one store with a clock of its own.
type world struct {
	*testing.T
	*control.Store
	b    Backend
	dsn  string
	mu   sync.Mutex
	now  time.Time
	cost control.Argon
}

func (w *world) options() control.Options {
	opt := control.Options{Now: w.clock, Argon: cheap}
	if w.cost != (control.Argon{}) {
		opt.Argon = w.cost
	}
	if w.b.Anchor != nil {
		opt.AnchorFile = w.b.Anchor(w.dsn)
	}
	return opt
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// open opens the same store once more.
func (w *world) open() *control.Store {
	w.Helper()
	s, err := control.Open(w.Context(), w.dsn, w.options())
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		if err := s.Close(); err != nil {
			w.Error(err)
		}
	})
	return s
}

// behind runs SQL past the store.
func (w *world) behind(statements ...string) {
	w.Helper()
	if err := w.tryBehind(statements...); err != nil {
		w.Fatal(err)
	}
}

func (w *world) tryBehind(statements ...string) error {
	db := w.database()
	defer db.Close()
	for _, s := range statements {
		if _, err := db.ExecContext(w.Context(), s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

func (w *world) database() *sql.DB {
	w.Helper()
	db, err := sql.Open(w.b.Driver, w.dsn)
	if err != nil {
		w.Fatal(err)
	}
	return db
}

func (w *world) value(query string) (n int64) {
	w.Helper()
	db := w.database()
	defer db.Close()
	if err := db.QueryRowContext(w.Context(), query).Scan(&n); err != nil {
		w.Fatal(err)
	}
	return n
}

func (w *world) user(name string, role control.Role) control.User {
	w.Helper()
	u, err := w.CreateUser(w.Context(), control.NewUser{Name: name, Password: password, Role: role})
	if err != nil {
		w.Fatal(err)
	}
	return u
}

func (w *world) signIn(name string) control.Session {
	w.Helper()
	s, id, err := w.SignIn(w.Context(), name, password, "")
	if err != nil {
		w.Fatal(err)
	}
	if id.Kind != control.KindUser || !strings.EqualFold(id.Name, name) {
		w.Fatalf("signed in %s as %+v", name, id)
	}
	return s
}

// good tells whether a token opens anything, without using it.
func (w *world) good(token string) bool {
	w.Helper()
	_, _, err := w.PeekSession(w.Context(), token)
	if err != nil && !errors.Is(err, control.ErrDenied) {
		w.Fatal(err)
	}
	return err == nil
}

func (w *world) use(token string) *control.Session {
	w.Helper()
	_, next, err := w.SessionIdentity(w.Context(), token)
	if err != nil {
		w.Fatal(err)
	}
	return next
}

func (w *world) audit(action string) {
	w.Helper()
	if err := w.Audit(w.Context(), control.Event{Actor: control.Local(), Action: action, Target: "x", Detail: "y", From: "192.0.2.1", Result: control.ResultOK}); err != nil {
		w.Fatal(err)
	}
}

func (w *world) verify() control.AuditReport {
	w.Helper()
	r, err := w.VerifyAudit(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	return r
}

func want(t testing.TB, err, is error) {
	t.Helper()
	if !errors.Is(err, is) {
		t.Fatalf("got %v, want %v", err, is)
	}
}

func invalid(t testing.TB, err error, field string) {
	t.Helper()
	e, ok := errors.AsType[control.ErrInvalid](err)
	if !ok || e.Field != field || e.Problem == "" || e.Want == "" {
		t.Fatalf("got %v, want ErrInvalid of %s", err, field)
	}
}

func ptr[T any](v T) *T { return &v }

func testConcurrentUse(t *testing.T, w *world) {
	w.user("ann", control.RoleAdmin)
	other := w.open()
	token := w.signIn("ann").Token
	_, secret, err := w.CreateKey(t.Context(), control.NewKey{Name: "k", Kind: control.KeyAPI, Role: control.RoleViewer})
	if err != nil {
		t.Fatal(err)
	}
	const each = 15
	var wg sync.WaitGroup
	for _, s := range []*control.Store{w.Store, other} {
		for g := range 4 {
			wg.Go(func() {
				for i := range each {
					if err := s.Audit(t.Context(), control.Event{Action: fmt.Sprintf("%d.%d", g, i), Result: control.ResultOK}); err != nil {
						t.Error(err)
					}
					if _, _, err := s.SessionIdentity(t.Context(), token); err != nil {
						t.Error(err)
					}
					if _, err := s.KeyIdentity(t.Context(), secret); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
	if r := w.verify(); !r.Intact || !r.Anchored || r.Events != 2*4*each {
		t.Errorf("audit log: %+v", r)
	}
}

// Stores that open an empty database at once take turns in making it.
func testOpenedTogether(t *testing.T, w *world) {
	w = &world{T: t, b: w.b, dsn: w.b.Fresh(t), now: w.now}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			s, err := control.Open(t.Context(), w.dsn, w.options())
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := s.DLPKey(t.Context()); err != nil {
				t.Error(err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := w.value(`SELECT count(*) FROM secrets`); n != 1 {
		t.Errorf("%d keys of redaction, want 1", n)
	}
}

func testNewer(t *testing.T, w *world) {
	w.behind(`UPDATE meta SET value = '9999' WHERE name = 'schema'`)
	_, err := control.Open(t.Context(), w.dsn, w.options())
	e, ok := errors.AsType[control.ErrNewer](err)
	if !ok || e.Has != 9999 || !strings.Contains(err.Error(), "newer version") {
		t.Fatalf("got %v, want ErrNewer", err)
	}
}

func testBackup(t *testing.T, w *world) {
	ctx := t.Context()
	w.user("ann", control.RoleAdmin)
	token := w.signIn("ann").Token
	key, secret, err := w.CreateKey(ctx, control.NewKey{Name: "f", Kind: control.KeyForwarder})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.BindSpool(ctx, control.SpoolOwner{KeyID: key.ID}, [16]byte{7}); err != nil {
		t.Fatal(err)
	}
	dlp, err := w.DLPKey(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.SaveView(ctx, control.View{Name: "v", Owner: "ann", Document: []byte(`{}`)}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		w.audit("before")
	}
	var backup bytes.Buffer
	if err := w.Backup(ctx, &backup); err != nil {
		t.Fatal(err)
	}
	w.audit("after")

	file := t.TempDir() + "/backup"
	if err := os.WriteFile(file, backup.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, control.Restore(ctx, w.dsn, file, w.options()), control.ErrExists)

	to := &world{T: t, b: w.b, dsn: w.b.Fresh(t), now: w.clock()}
	if err := control.Restore(ctx, to.dsn, file, to.options()); err != nil {
		t.Fatal(err)
	}
	to.Store = to.open()
	if to.good(token) {
		t.Error("a session of before the backup is still good")
	}
	to.signIn("ann")
	if _, err := to.KeyIdentity(ctx, secret); err != nil {
		t.Errorf("key: %v", err)
	}
	if b, err := to.ListSpools(ctx); err != nil || len(b) != 1 || b[0].Spool != [16]byte{7} || b[0].KeyName != "f" {
		t.Errorf("spools: %+v, %v", b, err)
	}
	if got, err := to.DLPKey(ctx); err != nil || got != dlp {
		t.Errorf("the key of redaction is another: %v", err)
	}
	if v, err := to.ListViews(ctx, "ann"); err != nil || len(v) != 1 {
		t.Errorf("views: %+v, %v", v, err)
	}
	if r := to.verify(); !r.Intact || !r.Anchored || r.Events != 4 {
		t.Errorf("audit log: %+v, want 3 events and the restore", r)
	}
	events, _, err := to.ListAudit(ctx, control.AuditPage{Limit: 1})
	if err != nil || len(events) != 1 || events[0].Action != "control.restore" || !strings.Contains(events[0].Detail, "event 3") {
		t.Errorf("newest event: %+v, %v", events, err)
	}

	if err := os.WriteFile(file, []byte("something else"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := control.Restore(ctx, w.b.Fresh(t), file, to.options()); err == nil {
		t.Error("restored from a file that is no backup")
	}
}

func testSweep(t *testing.T, w *world) {
	ctx := t.Context()
	if _, _, err := w.SetupToken(ctx); err != nil {
		t.Fatal(err)
	}
	w.user("ann", control.RoleAdmin)
	w.signIn("ann")
	_, _, err := w.SignIn(ctx, "nobody", password, "192.0.2.1")
	want(t, err, control.ErrDenied)
	key, _, err := w.CreateKey(ctx, control.NewKey{Name: "k", Kind: control.KeyProxy})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.RevokeKey(ctx, key.ID); err != nil {
		t.Fatal(err)
	}
	w.pass(91 * 24 * time.Hour)
	w.open() // sweeps
	for _, table := range []string{"setup_tokens", "sessions", "failures", "keys"} {
		if n := w.value(`SELECT count(*) FROM ` + table); n != 0 {
			t.Errorf("%s: %d rows are left", table, n)
		}
	}
	run, cancel := context.WithCancel(ctx)
	cancel()
	if err := w.Store.Run(run); err != nil {
		t.Errorf("run: %v", err)
	}
}
