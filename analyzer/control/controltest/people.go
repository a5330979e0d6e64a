package controltest

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/weir-capture/weir/analyzer/control"
)

func testUsers(t *testing.T, w *world) {
	ctx := t.Context()
	if has, err := w.HasUsers(ctx); has || err != nil {
		t.Fatal(has, err)
	}
	scope := control.Scope{Apps: []string{"b", "a", "b"}, Namespaces: []string{"n"}}
	if _, err := w.CreateUser(ctx, control.NewUser{Name: "Ann O’Neil", Password: password, Role: control.RoleViewer, Scope: scope}); err != nil {
		t.Fatal(err)
	}
	u, err := w.User(ctx, "ann o’neil")
	if err != nil || u.Name != "Ann O’Neil" || !reflect.DeepEqual(u.Scope, control.Scope{Apps: []string{"a", "b"}, Namespaces: []string{"n"}}) || u.LastSignInAt != nil || !u.CreatedAt.Equal(w.clock()) {
		t.Fatalf("%+v, %v", u, err)
	}
	w.signIn(u.Name)
	if u, err = w.User(ctx, u.Name); err != nil || u.LastSignInAt == nil || !u.LastSignInAt.Equal(w.clock()) {
		t.Errorf("%+v, %v", u, err)
	}
	_, err = w.CreateUser(ctx, control.NewUser{Name: "ANN o’neil", Password: password, Role: control.RoleViewer})
	want(t, err, control.ErrExists)
	for _, bad := range []string{"", " ann", "ann\n", "a\x00b", "\xff", strings.Repeat("x", 129)} {
		_, err := w.CreateUser(ctx, control.NewUser{Name: bad, Password: password, Role: control.RoleViewer})
		invalid(t, err, "name")
	}
	_, err = w.CreateUser(ctx, control.NewUser{Name: "bob", Password: password, Role: "root"})
	invalid(t, err, "role")
	_, err = w.CreateUser(ctx, control.NewUser{Name: "bob", Password: password, Role: control.RoleViewer, Scope: control.Scope{Clusters: []string{""}}})
	invalid(t, err, "scope.clusters")
	_, err = w.SetUser(ctx, "nobody", control.UserChange{Password: ptr(password)})
	want(t, err, control.ErrNotFound)
	_, err = w.SetUser(ctx, "nobody", control.UserChange{Disabled: ptr(true)})
	want(t, err, control.ErrNotFound)
	want(t, w.DeleteUser(ctx, "nobody"), control.ErrNotFound)
	// Somebody else of the same name does not become who was deleted.
	token := w.signIn(u.Name).Token
	if err := w.DeleteUser(ctx, u.Name); err != nil {
		t.Fatal(err)
	}
	w.user("ann o’neil", control.RoleViewer)
	if w.good(token) {
		t.Error("a session came back to life")
	}
	// A user made at the command line ends the setup link as well.
	if users, err := w.ListUsers(ctx); err != nil || len(users) != 1 {
		t.Errorf("%+v, %v", users, err)
	}
}

func testLastAdmin(t *testing.T, w *world) {
	ctx := t.Context()
	w.user("ann", control.RoleAdmin)
	w.user("bob", control.RoleAdmin)
	if _, err := w.SetUser(ctx, "bob", control.UserChange{Disabled: ptr(true)}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]control.UserChange{"demoted": {Role: ptr(control.RoleOperator)}, "disabled": {Disabled: ptr(true)}} {
		if _, err := w.SetUser(ctx, "ann", c); err == nil {
			t.Errorf("the last admin was %s", name)
		}
	}
	invalid(t, w.DeleteUser(ctx, "ann"), "name")
	if _, err := w.SetUser(ctx, "bob", control.UserChange{Disabled: ptr(false)}); err != nil {
		t.Fatal(err)
	}
	// Two admins who remove each other at once: one stays.
	errs := make(chan error, 2)
	for _, name := range []string{"ann", "bob"} {
		go func() { errs <- w.DeleteUser(ctx, name) }()
	}
	if a, b := <-errs, <-errs; (a == nil) == (b == nil) {
		t.Errorf("%v, %v: want one to be refused", a, b)
	}
}

func testKeys(t *testing.T, w *world) {
	ctx := t.Context()
	scope := control.Scope{Apps: []string{"shop"}}
	key, secret, err := w.CreateKey(ctx, control.NewKey{Name: "ci", Kind: control.KeyAPI, Role: control.RoleInvestigator, Scope: scope, Expires: w.clock().Add(time.Hour), CreatedBy: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(secret, "weir_a_"+key.ID+"_") {
		t.Errorf("the key does not say what it is: %.10s", secret)
	}
	id, err := w.KeyIdentity(ctx, secret)
	if err != nil || !reflect.DeepEqual(id, control.Identity{Kind: control.KindKey, ID: key.ID, Name: "ci", Role: control.RoleInvestigator, Scope: scope}) {
		t.Fatalf("%+v, %v", id, err)
	}
	for i := range secret { // one character, and case
		for _, c := range []string{"b", "c", strings.ToUpper(secret[i : i+1])} {
			if other := secret[:i] + c + secret[i+1:]; other != secret {
				if _, err := w.KeyIdentity(ctx, other); err == nil {
					t.Fatalf("character %d may be another", i)
				}
			}
		}
	}
	for _, bad := range []string{"", "weir_a_", secret + "a", secret[:len(secret)-1], " " + secret, strings.Repeat("a", 1<<20)} {
		_, err := w.KeyIdentity(ctx, bad)
		want(t, err, control.ErrDenied)
	}
	// With a right checksum too.
	other, _, err := w.CreateKey(ctx, control.NewKey{Name: "f", Kind: control.KeyForwarder})
	if err != nil {
		t.Fatal(err)
	}
	w.behind(fmt.Sprintf(`UPDATE keys SET hash = (SELECT hash FROM keys WHERE id = '%s') WHERE id = '%s'`, other.ID, key.ID))
	_, err = w.KeyIdentity(ctx, secret)
	want(t, err, control.ErrDenied)

	for kind, identity := range map[control.KeyKind]string{control.KeyForwarder: control.KindForwarder, control.KeyProxy: control.KindProxy} {
		k, secret, err := w.CreateKey(ctx, control.NewKey{Name: "node", Kind: kind, Expires: w.clock().Add(time.Minute)})
		if err != nil {
			t.Fatal(err)
		}
		id, err := w.KeyIdentity(ctx, secret)
		if err != nil || id.Kind != identity || id.Role.AtLeast(control.RoleViewer) {
			t.Errorf("%s: %+v, %v", kind, id, err)
		}
		w.pass(time.Minute)
		_, err = w.KeyIdentity(ctx, secret)
		want(t, err, control.ErrDenied)
		_, _, err = w.CreateKey(ctx, control.NewKey{Name: "node", Kind: kind, Role: control.RoleViewer})
		invalid(t, err, "role")
		_, _, err = w.CreateKey(ctx, control.NewKey{Name: "node", Kind: kind, Scope: scope})
		invalid(t, err, "scope")
		if k.ExpiresAt == nil {
			t.Error("no end")
		}
	}
	for field, bad := range map[string]control.NewKey{
		"name":    {Name: "", Kind: control.KeyProxy},
		"kind":    {Name: "x", Kind: "root"},
		"role":    {Name: "x", Kind: control.KeyAPI},
		"expires": {Name: "x", Kind: control.KeyProxy, Expires: w.clock()},
	} {
		_, _, err := w.CreateKey(ctx, bad)
		invalid(t, err, field)
	}

	_, secret, err = w.CreateKey(ctx, control.NewKey{Name: "used", Kind: control.KeyAPI, Role: control.RoleViewer})
	if err != nil {
		t.Fatal(err)
	}
	used := func() time.Time {
		t.Helper()
		if _, err := w.KeyIdentity(ctx, secret); err != nil {
			t.Fatal(err)
		}
		keys, err := w.ListKeys(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range keys {
			if k.Name == "used" && k.LastUsedAt != nil {
				return *k.LastUsedAt
			}
		}
		t.Fatal("not used")
		return time.Time{}
	}
	first := w.clock()
	if at := used(); !at.Equal(first) {
		t.Errorf("used at %v", at)
	}
	w.pass(59 * time.Second)
	if at := used(); !at.Equal(first) {
		t.Error("written more than once a minute")
	}
	w.pass(time.Second)
	if at := used(); !at.Equal(w.clock()) {
		t.Error("not noted after a minute")
	}
}

func testRevoked(t *testing.T, w *world) {
	ctx := t.Context()
	elsewhere := w.open() // another analyzer
	key, secret, err := w.CreateKey(ctx, control.NewKey{Name: "f", Kind: control.KeyForwarder})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := elsewhere.KeyIdentity(ctx, secret); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		k, err := w.RevokeKey(ctx, key.ID)
		if err != nil || k.RevokedAt == nil || !k.RevokedAt.Equal(w.clock()) {
			t.Fatalf("%+v, %v", k, err)
		}
	}
	for _, s := range []*control.Store{w.Store, elsewhere} {
		_, err := s.KeyIdentity(ctx, secret)
		want(t, err, control.ErrDenied)
	}
	_, err = w.RevokeKey(ctx, "nothing")
	want(t, err, control.ErrNotFound)

	w.user("ann", control.RoleAdmin)
	token := w.signIn("ann").Token
	if err := w.SignOut(ctx, token); err != nil {
		t.Fatal(err)
	}
	_, _, err = elsewhere.SessionIdentity(ctx, token)
	want(t, err, control.ErrDenied)
}

func testSpools(t *testing.T, w *world) {
	ctx := t.Context()
	id := func(name string, kind control.KeyKind) string {
		t.Helper()
		k, _, err := w.CreateKey(ctx, control.NewKey{Name: name, Kind: kind})
		if err != nil {
			t.Fatal(err)
		}
		return k.ID
	}
	a, b, renewed, proxy := id("a", control.KeyForwarder), id("b", control.KeyForwarder), id("a", control.KeyForwarder), id("a", control.KeyProxy)
	key := func(id string) control.SpoolOwner { return control.SpoolOwner{KeyID: id} }
	spool, free := [16]byte{1}, [16]byte{2}
	for range 2 {
		if err := w.BindSpool(ctx, key(a), spool); err != nil {
			t.Fatal(err)
		}
	}
	want(t, w.BindSpool(ctx, key(b), spool), control.ErrDenied)
	want(t, w.BindSpool(ctx, key(""), spool), control.ErrDenied)
	want(t, w.BindSpool(ctx, key("nothing"), spool), control.ErrDenied)
	want(t, w.BindSpool(ctx, key(proxy), spool), control.ErrDenied)
	want(t, w.BindSpool(ctx, key(proxy), free), control.ErrDenied)
	want(t, w.BindSpool(ctx, key("nothing"), free), control.ErrDenied)
	if err := w.BindSpool(ctx, key(renewed), spool); err != nil {
		t.Errorf("a new key of the same forwarder: %v", err)
	}
	if err := w.BindSpool(ctx, key(""), free); err != nil {
		t.Errorf("without a key: %v", err)
	}
	if err := w.BindSpool(ctx, key(b), free); err != nil {
		t.Errorf("what nobody has: %v", err)
	}
	// Of two at once one has it.
	contested := [16]byte{3}
	errs := make(chan error, 2)
	for _, k := range []string{a, b} {
		go func() { errs <- w.BindSpool(ctx, key(k), contested) }()
	}
	if x, y := <-errs, <-errs; (x == nil) == (y == nil) {
		t.Errorf("%v, %v", x, y)
	}
	if err := w.ReleaseSpool(ctx, spool); err != nil {
		t.Fatal(err)
	}
	want(t, w.ReleaseSpool(ctx, spool), control.ErrNotFound)
	if err := w.BindSpool(ctx, key(b), spool); err != nil {
		t.Errorf("released: %v", err)
	}
	// A forwarder that shows a certificate has its own as well.
	certified := [16]byte{4}
	ann, bob := control.SpoolOwner{Certificate: "ann"}, control.SpoolOwner{Certificate: "bob"}
	for range 2 {
		if err := w.BindSpool(ctx, ann, certified); err != nil {
			t.Fatal(err)
		}
	}
	want(t, w.BindSpool(ctx, bob, certified), control.ErrDenied)
	want(t, w.BindSpool(ctx, key(a), certified), control.ErrDenied)
	want(t, w.BindSpool(ctx, key(""), certified), control.ErrDenied)
	want(t, w.BindSpool(ctx, ann, spool), control.ErrDenied)
	if err := w.ReleaseSpool(ctx, certified); err != nil {
		t.Fatal(err)
	}
	want(t, w.ReleaseSpool(ctx, certified), control.ErrNotFound)
	if err := w.BindSpool(ctx, bob, certified); err != nil {
		t.Errorf("released: %v", err)
	}
	list, err := w.ListSpools(ctx)
	if err != nil || len(list) != 4 {
		t.Fatalf("%+v, %v", list, err)
	}
	for _, s := range list {
		if s.Spool == certified && (s.Certificate != "bob" || s.KeyID != "") {
			t.Errorf("%+v", s)
		}
		if s.Spool == spool && (s.KeyID != b || s.KeyName != "b" || !s.BoundAt.Equal(w.clock())) {
			t.Errorf("%+v", s)
		}
	}
}

func testDLPKey(t *testing.T, w *world) {
	ctx := t.Context()
	get := func() []string {
		t.Helper()
		k, err := w.DLPKey(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(k, ",")
	}
	first := get()
	if len(first) != 1 || len(first[0]) != 44 || get()[0] != first[0] {
		t.Fatalf("%d keys", len(first))
	}
	w.pass(30 * 24 * time.Hour)
	if err := w.RotateDLPKey(ctx); err != nil {
		t.Fatal(err)
	}
	both := get()
	if len(both) != 2 || both[1] != first[0] || both[0] == first[0] {
		t.Fatalf("%d keys; want the new one, then the old", len(both))
	}
	w.pass(7*24*time.Hour - time.Millisecond)
	if len(get()) != 2 {
		t.Error("the overlap is over early")
	}
	w.pass(time.Millisecond)
	if left := get(); len(left) != 1 || left[0] != both[0] {
		t.Error("the overlap does not end")
	}
	w.open() // sweeps
	if n := w.value(`SELECT count(*) FROM secrets`); n != 1 {
		t.Errorf("%d are kept", n)
	}
	for range 6 {
		if err := w.RotateDLPKey(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(get()); n != 4 {
		t.Errorf("%d keys at once", n)
	}
}

// What no database keeps as text is looked up all the same, and not found.
func testOddText(t *testing.T, w *world) {
	ctx := t.Context()
	for _, odd := range []string{"a\x00b", "\xff\xfe", "'; DROP TABLE users; --"} {
		_, err := w.User(ctx, odd)
		want(t, err, control.ErrNotFound)
		want(t, w.DeleteUser(ctx, odd), control.ErrNotFound)
		_, err = w.SetUser(ctx, odd, control.UserChange{Disabled: ptr(true)})
		want(t, err, control.ErrNotFound)
		_, err = w.RevokeKey(ctx, odd)
		want(t, err, control.ErrNotFound)
		want(t, w.DeleteView(ctx, odd, odd), control.ErrNotFound)
		want(t, w.BindSpool(ctx, control.SpoolOwner{KeyID: odd}, [16]byte{1}), control.ErrDenied)
		if err := w.BindSpool(ctx, control.SpoolOwner{Certificate: odd}, [16]byte{9}); err != nil {
			t.Errorf("certificate for %q: %v", odd, err)
		}
		if err := w.ReleaseSpool(ctx, [16]byte{9}); err != nil {
			t.Error(err)
		}
		_, _, err = w.UseSetup(ctx, odd, odd, odd)
		want(t, err, control.ErrDenied)
		_, err = w.KeyIdentity(ctx, odd)
		want(t, err, control.ErrDenied)
		_, _, err = w.ChangePassword(ctx, odd, odd, password, odd)
		want(t, err, control.ErrDenied)
		if v, err := w.ListViews(ctx, odd); err != nil || len(v) != 0 {
			t.Errorf("%v, %v", v, err)
		}
		if e, _, err := w.ListAudit(ctx, control.AuditPage{Action: odd, Actor: odd}); err != nil || len(e) != 0 {
			t.Errorf("%v, %v", e, err)
		}
		if err := w.SignOut(ctx, odd); err != nil {
			t.Error(err)
		}
	}
}

func testViews(t *testing.T, w *world) {
	ctx := t.Context()
	save := func(owner, name, doc string, shared bool) error {
		_, err := w.SaveView(ctx, control.View{Owner: owner, Name: name, Document: []byte(doc), Shared: shared})
		return err
	}
	for _, v := range []struct {
		owner, name string
		shared      bool
	}{{"ann", "errors", false}, {"ann", "slow", true}, {"bob", "errors", false}, {"bob", "all", true}} {
		if err := save(v.owner, v.name, `{"q":"<script>"}`, v.shared); err != nil {
			t.Fatal(err)
		}
	}
	if err := save("ANN", "errors", `{"q":2}`, false); err != nil {
		t.Fatal(err)
	}
	got, err := w.ListViews(ctx, "ann")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, v := range got {
		names = append(names, v.Owner+"/"+v.Name+string(v.Document))
	}
	if s := strings.Join(names, " "); s != `bob/all{"q":"<script>"} ann/errors{"q":2} ann/slow{"q":"<script>"}` {
		t.Error(s)
	}
	invalid(t, save("ann", "big", `"`+strings.Repeat("x", 64<<10)+`"`, false), "document")
	invalid(t, save("ann", "bad", `{`, false), "document")
	invalid(t, save("ann", "bad", "\"\xff\"", false), "document")
	invalid(t, save("ann", "a\x00", `1`, false), "name")
	invalid(t, save("", "a", `1`, false), "owner")
	want(t, w.DeleteView(ctx, "ann", "all"), control.ErrNotFound) // bob's
	if err := w.DeleteView(ctx, "ann", "errors"); err != nil {
		t.Fatal(err)
	}
	for i := range 199 {
		if err := save("ann", fmt.Sprint(i), `1`, false); err != nil {
			t.Fatal(err)
		}
	}
	invalid(t, save("ann", "one more", `1`, false), "name")
	if err := save("ann", "7", `2`, false); err != nil {
		t.Errorf("an old one changed: %v", err)
	}
}
