package controltest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-capture/weir/analyzer/control"
)

func testSetup(t *testing.T, w *world) {
	ctx := t.Context()
	expired, _, err := w.SetupToken(ctx)
	if err != nil {
		t.Fatal(err)
	}
	w.pass(time.Hour)
	_, _, err = w.UseSetup(ctx, expired, "ann", password)
	want(t, err, control.ErrDenied)

	token, expires, err := w.SetupToken(ctx)
	if err != nil || !expires.Equal(w.clock().Add(time.Hour)) {
		t.Fatal(expires, err)
	}
	other, _, err := w.SetupToken(ctx) // another analyzer's
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = w.UseSetup(ctx, token+"a", "ann", password)
	want(t, err, control.ErrDenied)
	_, _, err = w.UseSetup(ctx, token, "ann", "short")
	invalid(t, err, "password")

	// Of many at once one makes the admin.
	var made atomic.Int64
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			s, id, err := w.UseSetup(ctx, []string{token, other}[i%2], fmt.Sprint("ann", i), password)
			switch {
			case err == nil:
				made.Add(1)
				if id.Role != control.RoleAdmin || !s.First || s.Token == "" {
					t.Errorf("session %v, identity %+v", s, id)
				}
			case !errors.Is(err, control.ErrDenied):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if users, err := w.ListUsers(ctx); made.Load() != 1 || err != nil || len(users) != 1 {
		t.Errorf("%d made an admin; users %+v, %v", made.Load(), users, err)
	}
	_, _, err = w.SetupToken(ctx)
	want(t, err, control.ErrExists)
	if has, err := w.HasUsers(ctx); !has || err != nil {
		t.Error(has, err)
	}
}

func testSignInTellsNothing(t *testing.T, w *world) {
	ctx := t.Context()
	w.user("ann", control.RoleAdmin)
	w.user("bob", control.RoleViewer)
	w.user("locked", control.RoleViewer)
	if _, err := w.SetUser(ctx, "bob", control.UserChange{Disabled: ptr(true)}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.SignInExternal(ctx, control.External{Issuer: "i", Subject: "s", Name: "eve", Role: control.RoleViewer}); err != nil {
		t.Fatal(err)
	}
	for range 6 {
		_, _, err := w.SignIn(ctx, "locked", "wrong", "")
		want(t, err, control.ErrDenied)
	}
	answers := map[string]string{}
	for name, try := range map[string][2]string{
		"unknown": {"nobody", password}, "wrong": {"ann", "wrong horse battery"}, "disabled": {"bob", password},
		"external": {"eve", ""}, "locked": {"locked", password}, "empty": {"", ""}, "nul": {"a\x00b", "\xff"},
		"long name": {strings.Repeat("x", 1<<16), password}, "long": {"ann", password + strings.Repeat("x", 2000)},
	} {
		s, id, err := w.SignIn(ctx, try[0], try[1], "")
		want(t, err, control.ErrDenied)
		if s.Token != "" || id.Role != "" {
			t.Errorf("%s: %v, %+v", name, s, id)
		}
		answers[err.Error()] = name
	}
	if len(answers) != 1 {
		t.Errorf("answers differ: %v", answers)
	}
	w.signIn("ANN")
}

func testLockoutByName(t *testing.T, w *world) {
	ctx := t.Context()
	w.user("ann", control.RoleAdmin)
	wrong := func() {
		t.Helper()
		_, _, err := w.SignIn(ctx, "Ann", "wrong horse battery", "")
		want(t, err, control.ErrDenied)
	}
	locked := func() bool {
		_, _, err := w.SignIn(ctx, "ann", password, "")
		if err != nil {
			want(t, err, control.ErrDenied)
		}
		return err != nil
	}
	for range 5 {
		wrong()
	}
	if locked() {
		t.Fatal("locked by the free failures")
	}
	for range 6 {
		wrong()
	}
	for _, d := range []time.Duration{2, 4, 8, 16} {
		// Trying while it is locked does not make it longer.
		for range 3 {
			wrong()
		}
		w.pass(d*time.Second - time.Millisecond)
		if !locked() {
			t.Fatalf("open before %d s", d)
		}
		w.pass(time.Millisecond)
		wrong() // open now, and longer locked for that
	}
	for range 20 {
		w.pass(15 * time.Minute)
		wrong()
	}
	w.pass(15*time.Minute - time.Millisecond)
	if !locked() {
		t.Error("not locked for 15 minutes")
	}
	w.pass(time.Millisecond)
	if locked() {
		t.Error("locked for longer than 15 minutes")
	}
	wrong()
	if locked() {
		t.Error("success did not forgive")
	}

	// Guesses at once do not all count as the first.
	w.user("bob", control.RoleViewer)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, _, err := w.SignIn(ctx, "bob", "wrong horse battery", ""); err == nil {
				t.Error("signed in")
			}
		})
	}
	wg.Wait()
	if _, _, err := w.SignIn(ctx, "bob", password, ""); !errors.Is(err, control.ErrDenied) {
		t.Errorf("after 20 at once: %v", err)
	}
}

func testLockoutByAddress(t *testing.T, w *world) {
	ctx := t.Context()
	w.user("ann", control.RoleAdmin)
	for i := range 31 {
		// Another name each time, another port, another address of the network.
		from := fmt.Sprintf("[2001:db8::%x]:%d", i, 1000+i)
		_, _, err := w.SignIn(ctx, fmt.Sprint("guess", i), password, from)
		want(t, err, control.ErrDenied)
	}
	_, _, err := w.SignIn(ctx, "ann", password, "2001:db8::abcd")
	want(t, err, control.ErrDenied)
	if _, _, err := w.SignIn(ctx, "ann", password, "[2001:db8:0:1::1]:80"); err != nil {
		t.Errorf("from elsewhere: %v", err)
	}
	w.pass(2 * time.Second)
	if _, _, err := w.SignIn(ctx, "ann", password, "2001:db8::abcd"); err != nil {
		t.Errorf("after the delay: %v", err)
	}
	// An account of one's own does not make guessing at others free.
	for range 3 {
		_, _, err := w.SignIn(ctx, "x", password, "[2001:db8::1]:1")
		want(t, err, control.ErrDenied)
	}
	_, _, err = w.SignIn(ctx, "ann", password, "2001:db8::1")
	want(t, err, control.ErrDenied)
}

func testLockoutIsBounded(t *testing.T, w *world) {
	statements := []string{`INSERT INTO failures VALUES ('victim', 'name', 50, 1, 9000000000000000)`}
	for i := range 100 {
		var rows []string
		for j := range 101 {
			rows = append(rows, fmt.Sprintf("('%d.%d', 'name', 1, %d, 0)", i, j, w.clock().UnixMilli()+int64(i)))
		}
		statements = append(statements, `INSERT INTO failures VALUES `+strings.Join(rows, ", "))
	}
	w.behind(statements...)
	_, _, err := w.SignIn(t.Context(), "nobody", password, "")
	want(t, err, control.ErrDenied)
	if n := w.value(`SELECT count(*) FROM failures`); n != 10_000 {
		t.Errorf("%d rows, want 10,000", n)
	}
	if n := w.value(`SELECT count(*) FROM failures WHERE subject = 'victim'`); n != 1 {
		t.Error("what is locked went first")
	}
}

func testRehash(t *testing.T, w *world) {
	w.user("ann", control.RoleAdmin)
	has := func(cost string) bool {
		return w.value(`SELECT count(*) FROM users WHERE password LIKE '$argon2id$v=19$`+cost+`$%'`) == 1
	}
	if !has("m=64,t=1,p=1") {
		t.Fatal("not hashed at the cost that was asked for")
	}
	w.cost = control.Argon{Memory: 128, Time: 2, Threads: 1}
	w.Store = w.open()
	_, _, err := w.SignIn(t.Context(), "ann", "wrong horse battery", "")
	want(t, err, control.ErrDenied)
	if !has("m=64,t=1,p=1") {
		t.Error("a wrong password changed the hash")
	}
	token := w.signIn("ann").Token
	if !has("m=128,t=2,p=1") {
		t.Error("not hashed anew")
	}
	if !w.good(token) {
		t.Error("the session ended with it")
	}
	w.signIn("ann")
}

func testPasswordPolicy(t *testing.T, w *world) {
	ctx := t.Context()
	for _, bad := range []string{"", "elevenchars", "Annabel.Longname", strings.Repeat("x", 1025), "invalid\xffutf-8 text"} {
		_, err := w.CreateUser(ctx, control.NewUser{Name: "annabel.longname", Password: bad, Role: control.RoleAdmin})
		invalid(t, err, "password")
		if bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("the error has the password: %v", err)
		}
	}
	// Characters, not bytes, and any of them.
	for i, good := range []string{"пароль-длинный", strings.Repeat("x", 1024), "twelve chars", " spaces count "} {
		name := fmt.Sprint("user", i)
		if _, err := w.CreateUser(ctx, control.NewUser{Name: name, Password: good, Role: control.RoleViewer}); err != nil {
			t.Errorf("%q: %v", good, err)
		}
		if _, _, err := w.SignIn(ctx, name, good, ""); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
}

func testExternal(t *testing.T, w *world) {
	ctx := t.Context()
	w.user("ann", control.RoleAdmin)
	e := control.External{Issuer: "https://idp.test", Subject: "1", Name: "Ann", Role: control.RoleViewer, Scope: control.Scope{Apps: []string{"shop"}}}
	first, id, err := w.SignInExternal(ctx, e)
	if err != nil || !first.First {
		t.Fatal(first, err)
	}
	if id.Role != control.RoleViewer || !strings.HasPrefix(id.Name, "Ann~") {
		t.Fatalf("became %+v", id)
	}
	again, same, err := w.SignInExternal(ctx, e)
	if err != nil || same.ID != id.ID || again.First || !w.good(first.Token) {
		t.Fatalf("%v, %+v, %v", again, same, err)
	}
	// Another subject is somebody else, whatever the name.
	e2 := e
	e2.Subject = "2"
	if _, other, err := w.SignInExternal(ctx, e2); err != nil || other.ID == id.ID || other.Name == id.Name {
		t.Errorf("%+v, %v", other, err)
	}
	_, _, err = w.SignIn(ctx, id.Name, "", "")
	want(t, err, control.ErrDenied)
	_, err = w.SetUser(ctx, id.Name, control.UserChange{Password: ptr(password)})
	invalid(t, err, "password")

	e.Role = control.RoleOperator
	if _, id, err = w.SignInExternal(ctx, e); err != nil || id.Role != control.RoleOperator {
		t.Errorf("%+v, %v", id, err)
	}
	if w.good(first.Token) {
		t.Error("a session outlived the change of its role")
	}
	if _, err := w.SetUser(ctx, id.Name, control.UserChange{Disabled: ptr(true)}); err != nil {
		t.Fatal(err)
	}
	_, _, err = w.SignInExternal(ctx, e)
	want(t, err, control.ErrDenied)
	_, _, err = w.SignInExternal(ctx, control.External{Issuer: "i", Name: "x", Role: control.RoleViewer})
	invalid(t, err, "subject")
	e2.Role = "root"
	_, _, err = w.SignInExternal(ctx, e2)
	invalid(t, err, "role")
}

func testSessionsExpire(t *testing.T, w *world) {
	w.user("ann", control.RoleAdmin)
	idle := w.signIn("ann")
	if !idle.First || !idle.Expires.Equal(w.clock().Add(7*24*time.Hour)) {
		t.Fatal(idle, idle.First)
	}
	w.pass(8*time.Hour - time.Millisecond)
	if !w.good(idle.Token) {
		t.Fatal("ended early")
	}
	w.pass(time.Millisecond)
	if w.good(idle.Token) {
		t.Error("idle for eight hours, and still good: looking does not count as use")
	}

	s := w.signIn("ann")
	if s.First {
		t.Error("first twice")
	}
	token, start := s.Token, w.clock()
	for w.clock().Before(start.Add(7 * 24 * time.Hour)) {
		if next := w.use(token); next != nil {
			if !next.Expires.Equal(s.Expires) {
				t.Fatalf("rotation moved the end to %v", next.Expires)
			}
			token = next.Token
		}
		w.pass(30 * time.Minute)
	}
	if w.good(token) {
		t.Error("good for longer than seven days")
	}
	for _, bad := range []string{"", "x", strings.Repeat("a", 52), strings.Repeat("\x00", 52), strings.Repeat("x", 1<<20)} {
		if _, _, err := w.SessionIdentity(t.Context(), bad); !errors.Is(err, control.ErrDenied) {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
}

func testSessionsRotate(t *testing.T, w *world) {
	w.user("ann", control.RoleAdmin)
	old := w.signIn("ann").Token
	if w.use(old) != nil {
		t.Fatal("rotated at once")
	}
	w.pass(time.Hour)
	var mu sync.Mutex
	var next []control.Session
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			_, s, err := w.SessionIdentity(t.Context(), old)
			if err != nil {
				t.Error(err)
			}
			if s != nil {
				mu.Lock()
				defer mu.Unlock()
				next = append(next, *s)
			}
		})
	}
	wg.Wait()
	if len(next) != 1 || next[0].Token == old {
		t.Fatalf("%d of six requests at once rotated", len(next))
	}
	fresh := next[0].Token
	w.pass(2 * time.Minute)
	w.use(fresh)
	w.pass(time.Minute - time.Millisecond)
	if !w.good(old) {
		t.Error("the old token ended before the overlap")
	}
	if w.use(old) != nil {
		t.Error("a token that was taken over from handed on again")
	}
	w.pass(time.Millisecond)
	if w.good(old) {
		t.Error("the old token is good after the overlap")
	}
	if !w.good(fresh) {
		t.Error("the new one is not")
	}
	// Signing out with the new one leaves nothing of the old.
	w.pass(time.Hour)
	last := w.use(fresh)
	if last == nil {
		t.Fatal("did not rotate again")
	}
	if err := w.SignOut(t.Context(), fresh); err != nil {
		t.Fatal(err)
	}
	if w.good(last.Token) || w.good(fresh) {
		t.Error("signed out, and still good")
	}
}

func testLostRotation(t *testing.T, w *world) {
	w.user("ann", control.RoleAdmin)
	token := w.signIn("ann").Token
	w.pass(time.Hour)
	lost := w.use(token) // and the answer does not arrive
	if lost == nil {
		t.Fatal("did not rotate")
	}
	w.pass(5 * time.Minute)
	again := w.use(token)
	if again == nil {
		t.Fatal("the old token does not get another")
	}
	w.use(again.Token)
	w.pass(time.Minute)
	if w.good(lost.Token) || w.good(token) || !w.good(again.Token) {
		t.Error("lost, old, new:", w.good(lost.Token), w.good(token), w.good(again.Token))
	}
}

func testSessionsEnd(t *testing.T, w *world) {
	ctx := t.Context()
	w.user("root", control.RoleAdmin)
	w.user("ann", control.RoleViewer)
	stays := w.signIn("root").Token
	for name, end := range map[string]func(token string) error{
		"sign out": func(token string) error { return w.SignOut(ctx, token) },
		"role": func(string) error {
			_, err := w.SetUser(ctx, "ann", control.UserChange{Role: ptr(control.RoleOperator)})
			return err
		},
		"scope": func(string) error {
			_, err := w.SetUser(ctx, "ann", control.UserChange{Scope: &control.Scope{Clusters: []string{"c"}}})
			return err
		},
		"password": func(string) error { return w.SetPassword(ctx, "ann", password) },
		"disabled": func(string) error {
			_, err := w.SetUser(ctx, "ann", control.UserChange{Disabled: ptr(true)})
			if err == nil {
				_, err = w.SetUser(ctx, "ann", control.UserChange{Disabled: ptr(false)})
			}
			return err
		},
	} {
		token := w.signIn("ann").Token
		if err := end(token); err != nil {
			t.Fatal(err)
		}
		if w.good(token) {
			t.Errorf("%s: the session goes on", name)
		}
	}
	// What changes nothing ends nothing.
	token := w.signIn("ann").Token
	if _, err := w.SetUser(ctx, "ann", control.UserChange{Role: ptr(control.RoleOperator)}); err != nil || !w.good(token) {
		t.Error("ended by no change:", err)
	}
	// Changing one's own password gives a new session.
	_, _, err := w.ChangePassword(ctx, "ann", "wrong horse battery", "another horse battery", "")
	want(t, err, control.ErrDenied)
	_, _, err = w.ChangePassword(ctx, "ann", password, "short", "")
	invalid(t, err, "password")
	s, id, err := w.ChangePassword(ctx, "ann", password, "another horse battery", "")
	if err != nil || id.Name != "ann" || !w.good(s.Token) || w.good(token) {
		t.Error("own password:", err)
	}
	if err := w.DeleteUser(ctx, "ann"); err != nil || w.good(s.Token) {
		t.Error("deleted:", err)
	}
	if !w.good(stays) {
		t.Error("another's session ended too")
	}
	if err := w.SignOut(ctx, "no such token"); err != nil {
		t.Error(err)
	}
}

func testSessionsAreBounded(t *testing.T, w *world) {
	w.user("ann", control.RoleAdmin)
	oldest := w.signIn("ann").Token
	w.pass(time.Second)
	second := w.signIn("ann").Token
	for range 63 {
		w.pass(time.Second)
		w.signIn("ann")
	}
	if w.good(oldest) || !w.good(second) {
		t.Error("of 65 sign-ins the oldest should have ended, and no other:", w.good(oldest), w.good(second))
	}
}
