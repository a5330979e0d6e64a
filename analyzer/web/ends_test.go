package web

import (
	"bufio"
	"database/sql"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weir-capture/weir/analyzer/control"
)

// TestS07RevokedWhileFollowing: a key that is revoked, and a session that ends,
// end the tail that is open with them.
func TestS07RevokedWhileFollowing(t *testing.T) {
	in := install(t, func(c *Config, _ *Deps) { c.Recheck = 10 * time.Millisecond })
	follow := func(headers []string) *bufio.Reader {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, in.http.URL+"/api/v1/tail", nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		resp, err := in.http.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = resp.Body.Close() })
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("tail: %d", resp.StatusCode)
		}
		r := bufio.NewReader(resp.Body)
		if _, err := r.ReadString('\n'); err != nil { // it has begun
			t.Fatal(err)
		}
		return r
	}
	// ends reads until the server says no more; the test's own deadline bounds it.
	ends := func(r *bufio.Reader, after string) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); ; {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("after %s it still says %q", after, line)
			}
		}
	}

	key, secret, err := in.ctl.CreateKey(t.Context(), control.NewKey{Name: "feed", Kind: control.KeyAPI, Role: control.RoleViewer})
	if err != nil {
		t.Fatal(err)
	}
	mine, other := follow(bearer(secret)), follow(bearer(in.tokens["viewer"]))
	if _, err := in.ctl.RevokeKey(t.Context(), key.ID); err != nil {
		t.Fatal(err)
	}
	ends(mine, "its key was revoked")
	in.store.add(exchange(7, "GET", "/after", 200, "", ""))
	for {
		line, err := other.ReadString('\n')
		if err != nil {
			t.Fatalf("the tail of another key ended too: %v", err)
		}
		if strings.Contains(line, "/after") {
			break
		}
	}

	in.user("ann", control.RoleViewer, control.Scope{})
	session, _, err := in.ctl.SignIn(t.Context(), "ann", password, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	signedIn := follow([]string{"Cookie", cookieName(false) + "=" + session.Token})
	if err := in.ctl.SignOut(t.Context(), session.Token); err != nil {
		t.Fatal(err)
	}
	ends(signedIn, "she signed out")
}

// TestS27NothingWithoutIt: where the audit log cannot be written, nothing that
// belongs into it is answered; what does not is.
func TestS27NothingWithoutIt(t *testing.T) {
	in := install(t)
	db, err := sql.Open("sqlite", in.file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	// As on a disk that is full.
	if _, err := db.ExecContext(t.Context(), `CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'disk full'); END`); err != nil {
		t.Fatal(err)
	}
	token := bearer(in.tokens["investigator"])
	for _, path := range []string{"", "/request/body", "/response/body", "/request/raw", "/curl"} {
		status, answer, _ := in.call(http.MethodGet, "/api/v1/pairs/"+shopPair+path, "", token...)
		if status != http.StatusServiceUnavailable || !strings.Contains(answer, "audit log could not be written") || strings.Contains(answer, "secret of") {
			t.Errorf("%s: %d %s", path, status, answer)
		}
	}
	if status, _, _ := in.call(http.MethodGet, "/api/v1/pairs", "", token...); status != http.StatusOK {
		t.Errorf("list: %d", status)
	}
	if _, err := db.ExecContext(t.Context(), "DROP TRIGGER full"); err != nil {
		t.Fatal(err)
	}
	if status, answer, _ := in.call(http.MethodGet, "/api/v1/pairs/"+shopPair, "", token...); status != http.StatusOK {
		t.Errorf("when it can be written again: %d %s", status, answer)
	}
}
