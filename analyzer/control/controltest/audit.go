package controltest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weir-capture/weir/analyzer/control"
)

func testAuditPages(t *testing.T, w *world) {
	ctx := t.Context()
	if events, next, err := w.ListAudit(ctx, control.AuditPage{}); len(events) != 0 || next != "" || err != nil {
		t.Fatal(events, next, err)
	}
	if r := w.verify(); !r.Intact || r.Events != 0 {
		t.Fatalf("%+v", r)
	}
	for i := range 25 {
		w.audit(fmt.Sprint("action.", i%2))
	}
	var seqs []int64
	cursor := ""
	for {
		events, next, err := w.ListAudit(ctx, control.AuditPage{Limit: 10, Cursor: cursor})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			seqs = append(seqs, e.Seq)
		}
		w.audit("meanwhile") // moves no page
		if cursor = next; next == "" {
			break
		}
	}
	if len(seqs) != 25 || seqs[0] != 25 || seqs[24] != 1 {
		t.Errorf("%v", seqs)
	}
	for page, n := range map[control.AuditPage]int{
		{Action: "action.1"}: 12, {Actor: "local", Action: "action.0"}: 13, {Actor: "ann"}: 0, {Limit: 1 << 30}: 28,
	} {
		if events, _, err := w.ListAudit(ctx, page); err != nil || len(events) != n {
			t.Errorf("%+v: %d events, want %d; %v", page, len(events), n, err)
		}
	}
	for _, bad := range []string{"x", "0", "-1", "99999999999999999999"} {
		_, _, err := w.ListAudit(ctx, control.AuditPage{Cursor: bad})
		invalid(t, err, "cursor")
	}
	next := int64(21)
	for e, err := range w.AuditEvents(ctx, 20) {
		if err != nil || e.Seq != next {
			t.Fatal(e.Seq, next, err)
		}
		next++
	}
	if next != 29 {
		t.Errorf("ended before %d", next)
	}
}

func testAuditHoldsNoSecrets(t *testing.T, w *world) {
	ctx := t.Context()
	_, secret, err := w.CreateKey(ctx, control.NewKey{Name: "k", Kind: control.KeyAPI, Role: control.RoleViewer})
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("ü", 1<<20)
	if err := w.Audit(ctx, control.Event{
		Actor: control.Identity{Kind: long, ID: "\x00", Name: "\xff", Role: control.Role(long)}, Action: long, Target: "Bearer " + secret, Detail: "line\r\nline " + long, From: long, Result: control.Result(long),
	}); err != nil {
		t.Fatal(err)
	}
	events, _, err := w.ListAudit(ctx, control.AuditPage{})
	if err != nil || len(events) != 1 {
		t.Fatal(events, err)
	}
	e := events[0]
	if len(e.Action) > 64 || len(e.Target) > 512 || len(e.Detail) > 1024 || len(e.From) > 128 || len(e.Result) > 64 || len(e.ActorKind) > 64 || len(e.ActorRole) > 64 {
		t.Errorf("too long: %+v", e)
	}
	if strings.ContainsAny(e.Detail, "\r\n\x00") || strings.Contains(e.Target, secret[len(secret)-40:]) || !strings.Contains(e.Target, secret[:20]) {
		t.Errorf("target %q, detail %.20q", e.Target, e.Detail)
	}
	if r := w.verify(); !r.Intact || r.Events != 1 {
		t.Errorf("%+v", r)
	}
}

func testAuditIsAppendOnly(t *testing.T, w *world) {
	for range 3 {
		w.audit("x")
	}
	for _, s := range []string{`UPDATE audit SET detail = 'z' WHERE seq = 2`, `DELETE FROM audit WHERE seq = 3`, `DELETE FROM audit`} {
		if err := w.tryBehind(s); err == nil || !strings.Contains(err.Error(), "append-only") {
			t.Errorf("%s: %v", s, err)
		}
	}
	if r := w.verify(); !r.Intact || r.Events != 3 {
		t.Errorf("%+v", r)
	}
}

// unlock takes away the second line of defence, as who owns the database can.
func (w *world) unlock() {
	w.Helper()
	if w.b.Driver == "sqlite" {
		w.behind(`DROP TRIGGER audit_is_not_edited`, `DROP TRIGGER audit_is_not_deleted`)
	} else {
		w.behind(`DROP TRIGGER audit_is_append_only ON audit`)
	}
}

func testAuditTampering(t *testing.T, w *world) {
	for name, c := range map[string]struct {
		at  int64
		sql []string
	}{
		"edit action":      {3, []string{`UPDATE audit SET action = 'nothing' WHERE seq = 3`}},
		"edit time":        {3, []string{`UPDATE audit SET at = at + 1 WHERE seq = 3`}},
		"edit actor":       {3, []string{`UPDATE audit SET actor_name = 'eve' WHERE seq = 3`}},
		"move text":        {3, []string{`UPDATE audit SET target = 'xy', detail = '' WHERE seq = 3`}},
		"edit result":      {10, []string{`UPDATE audit SET result = 'denied' WHERE seq = 10`}},
		"edit hash":        {10, []string{`UPDATE audit SET hash = 'x' WHERE seq = 10`}},
		"delete one":       {5, []string{`DELETE FROM audit WHERE seq = 5`}},
		"delete, renumber": {5, []string{`DELETE FROM audit WHERE seq = 5`, `UPDATE audit SET seq = seq + 100 WHERE seq > 5`, `UPDATE audit SET seq = seq - 101 WHERE seq > 100`}},
		"delete first":     {1, []string{`DELETE FROM audit WHERE seq = 1`}},
		"swap":             {5, []string{`UPDATE audit SET seq = 100 WHERE seq = 5`, `UPDATE audit SET seq = 5 WHERE seq = 6`, `UPDATE audit SET seq = 6 WHERE seq = 100`}},
		"insert":           {11, []string{`INSERT INTO audit SELECT 11, at, actor_kind, actor_id, actor_name, actor_role, action, target, detail, origin, result, hash FROM audit WHERE seq = 10`}},
		"cut tail":         {9, []string{`DELETE FROM audit WHERE seq > 8`}},
		"cut tail, head":   {9, []string{`DELETE FROM audit WHERE seq > 8`, `UPDATE audit_head SET seq = 8, hash = (SELECT hash FROM audit WHERE seq = 8)`}},
		"cut all":          {1, []string{`DELETE FROM audit`, `UPDATE audit_head SET seq = 0, hash = ''`}},
		"lose head":        {10, []string{`DELETE FROM audit_head`}},
		"move head":        {11, []string{`UPDATE audit_head SET seq = 11`}},
		"move head back":   {10, []string{`UPDATE audit_head SET seq = 9, hash = (SELECT hash FROM audit WHERE seq = 9)`}},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{T: t, b: w.b, dsn: w.b.Fresh(t), now: w.now}
			w.Store = w.open()
			for i := range 10 {
				w.audit(fmt.Sprint(i))
			}
			if r := w.verify(); !r.Intact || r.Events != 10 || !r.Anchored || len(r.Head) != 64 {
				t.Fatalf("before: %+v", r)
			}
			w.unlock()
			w.behind(c.sql...)
			r := w.verify()
			if r.Intact || r.Problem == "" || r.At != c.at {
				t.Errorf("%+v, want a problem at %d", r, c.at)
			}
			// Another program that opens it later sees the same.
			if r2, err := w.open().VerifyAudit(t.Context()); err != nil || r2 != r {
				t.Errorf("opened anew: %+v, %v", r2, err)
			}
		})
	}
}

// Events after a cut do not cover it up: the anchor stays where it was, across
// a restart too.
func testAnchorStays(t *testing.T, w *world) {
	for i := range 10 {
		w.audit(fmt.Sprint(i))
	}
	w.unlock()
	w.behind(`DELETE FROM audit WHERE seq > 5`, `UPDATE audit_head SET seq = 5, hash = (SELECT hash FROM audit WHERE seq = 5)`)
	for range 3 {
		w.audit("more")
	}
	if r := w.verify(); r.Intact || r.At != 9 {
		t.Errorf("after three more: %+v", r)
	}
	w.Store = w.open()
	for range 10 {
		w.audit("and more")
	}
	if r := w.verify(); r.Intact || r.At != 10 {
		t.Errorf("after thirteen more: %+v", r)
	}
}

func testNothingInClear(t *testing.T, w *world) {
	ctx := t.Context()
	token, _, err := w.SetupToken(ctx)
	if err != nil {
		t.Fatal(err)
	}
	secrets := map[string]string{"setup token": token, "password": password}
	_, secrets["key"], err = w.CreateKey(ctx, control.NewKey{Name: "k", Kind: control.KeyAPI, Role: control.RoleViewer})
	if err != nil {
		t.Fatal(err)
	}
	dump := w.dump()
	s, _, err := w.UseSetup(ctx, token, "ann", password)
	if err != nil {
		t.Fatal(err)
	}
	secrets["session"] = s.Token
	// A password where the name belongs.
	secrets["mistake"] = "s3cret instead of a name"
	_, _, err = w.SignIn(ctx, secrets["mistake"], "x", "192.0.2.77")
	want(t, err, control.ErrDenied)
	secrets["address"] = "192.0.2.77"
	dump += w.dump()
	for what, secret := range secrets {
		if strings.Contains(dump, secret) || len(secret) > 60 && strings.Contains(dump, secret[len(secret)-40:]) {
			t.Errorf("the database has a %s in clear", what)
		}
	}
	for _, shown := range []string{fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s", s, s, s, &s)} {
		if strings.Contains(shown, s.Token) {
			t.Errorf("a session prints its token: %s", shown)
		}
	}
}

// dump is all that the database has, as text.
func (w *world) dump() string {
	w.Helper()
	db := w.database()
	defer db.Close()
	var out strings.Builder
	for _, table := range []string{"meta", "users", "sessions", "setup_tokens", "failures", "keys", "spools", "views", "audit", "audit_head"} {
		rows, err := db.QueryContext(w.Context(), `SELECT * FROM `+table)
		if err != nil {
			w.Fatal(err)
		}
		columns, err := rows.Columns()
		if err != nil {
			w.Fatal(err)
		}
		for rows.Next() {
			values := make([]any, len(columns))
			into := make([]any, len(columns))
			for i := range values {
				into[i] = &values[i]
			}
			if err := rows.Scan(into...); err != nil {
				w.Fatal(err)
			}
			fmt.Fprintln(&out, values...)
		}
		if err := rows.Err(); err != nil {
			w.Fatal(err)
		}
		rows.Close()
	}
	return out.String()
}
