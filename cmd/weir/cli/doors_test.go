package cli_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	httpv1 "github.com/weir-capture/weir/api/http/v1"
)

// doorsKey is the secret of the key that the analyzer of the scripts takes.
const doorsKey = "weir_a_0123456789_thesecretofakey"

// doors is an analyzer that knows keys, users and an audit log, and tells what
// it was asked for in its answers.
func doors(t *testing.T) http.Handler {
	t.Helper()
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	var mu sync.Mutex
	users := map[string]*httpv1.User{}
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v) // the script misses it
	}
	refuse := func(w http.ResponseWriter, status int, role, detail string) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(httpv1.Problem{Title: http.StatusText(status), Status: status, Detail: detail, Role: role})
	}
	read := func(w http.ResponseWriter, r *http.Request, v any) bool {
		dec := json.NewDecoder(r.Body)
		dec.DisallowUnknownFields()
		if err := dec.Decode(v); err != nil || r.Header.Get("Content-Type") != "application/json" {
			refuse(w, http.StatusUnprocessableEntity, "", fmt.Sprintf("not a document: %v", err))
			return false
		}
		return true
	}
	all := func(s *httpv1.Scope) httpv1.Scope {
		if s == nil {
			return httpv1.Scope{}
		}
		return *s
	}
	mux.HandleFunc("POST /api/v1/users", func(w http.ResponseWriter, r *http.Request) {
		var u httpv1.NewUser
		if !read(w, r, &u) {
			return
		}
		if len(u.Password) < 12 {
			refuse(w, http.StatusUnprocessableEntity, "", "password: too short; want at least 12 characters")
			return
		}
		users[u.Name] = &httpv1.User{Name: u.Name, Role: u.Role, Scope: all(u.Scope), CreatedAt: at}
		w.WriteHeader(http.StatusCreated)
		answer(w, users[u.Name])
	})
	mux.HandleFunc("GET /api/v1/users", func(w http.ResponseWriter, _ *http.Request) {
		out := httpv1.Users{}
		for _, u := range users {
			out.Users = append(out.Users, *u)
		}
		slices.SortFunc(out.Users, func(a, b httpv1.User) int { return strings.Compare(a.Name, b.Name) })
		answer(w, out)
	})
	mux.HandleFunc("PATCH /api/v1/users/{name}", func(w http.ResponseWriter, r *http.Request) {
		var c httpv1.UserChange
		u := users[r.PathValue("name")]
		if u == nil {
			refuse(w, http.StatusNotFound, "", "There is no such user.")
			return
		}
		if !read(w, r, &c) {
			return
		}
		if c.Role != nil {
			u.Role = *c.Role
		}
		if c.Scope != nil {
			u.Scope = *c.Scope
		}
		if c.Disabled != nil {
			u.Disabled = *c.Disabled
		}
		answer(w, u)
	})
	mux.HandleFunc("DELETE /api/v1/users/{name}", func(w http.ResponseWriter, r *http.Request) {
		delete(users, r.PathValue("name"))
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /api/v1/session/link", func(w http.ResponseWriter, _ *http.Request) {
		if len(users) > 0 {
			refuse(w, http.StatusConflict, "", "There are users already.")
			return
		}
		answer(w, httpv1.SetupLink{URL: "http://127.0.0.1:4190/sign-in#setup=TOKEN", ExpiresAt: at})
	})
	mux.HandleFunc("POST /api/v1/keys", func(w http.ResponseWriter, r *http.Request) {
		var k httpv1.NewKey
		if !read(w, r, &k) {
			return
		}
		answer(w, httpv1.MadeKey{Key: httpv1.Key{ID: "k1", Name: k.Name, Kind: k.Kind, Role: k.Role, Scope: all(k.Scope), CreatedAt: at, ExpiresAt: k.ExpiresAt}, Secret: "weir_a_k1_secret"})
	})
	mux.HandleFunc("GET /api/v1/keys", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, httpv1.Keys{Keys: []httpv1.Key{
			{ID: "k2", Name: "east\x1b[31m", Kind: "forwarder", CreatedAt: at, LastUsedAt: &at},
			{ID: "k1", Name: "ci", Kind: "api", Role: "viewer", Scope: httpv1.Scope{Apps: []string{"checkout"}}, CreatedAt: at, RevokedAt: &at},
		}})
	})
	mux.HandleFunc("DELETE /api/v1/keys/{id}", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("id") != "k1" {
			refuse(w, http.StatusNotFound, "", "There is no such key.")
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /api/v1/forwarder-list", func(w http.ResponseWriter, r *http.Request) {
		var l httpv1.ForwarderList
		if read(w, r, &l) {
			fmt.Fprintf(w, "CLUSTER_NAME=%s\nANALYZER_ADDR=%s\nANALYZER_TOKEN=t\n", l.Name, l.AnalyzerAddr)
		}
	})
	mux.HandleFunc("POST /api/v1/proxy-list", func(w http.ResponseWriter, r *http.Request) {
		var l httpv1.ProxyList
		if read(w, r, &l) {
			fmt.Fprintf(w, "APP_LABEL=%s\nAPP_POD_NAME=%s\ntoken=%t\n", l.App, l.Pod, l.Token)
		}
	})
	event := func(n uint64) httpv1.AuditEvent {
		return httpv1.AuditEvent{Seq: n, Time: at, Kind: "user", Name: "ada", Action: "pair.read", Target: fmt.Sprint("pair ", n), From: "10.0.0.1", Result: "ok", Hash: fmt.Sprint("hash", n)}
	}
	mux.HandleFunc("GET /api/v1/audit", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("cursor") == "" {
			next := "2"
			answer(w, httpv1.Audit{Events: []httpv1.AuditEvent{event(3), event(2)}, NextCursor: &next})
			return
		}
		answer(w, httpv1.Audit{Events: []httpv1.AuditEvent{event(1)}})
	})
	mux.HandleFunc("GET /api/v1/audit/verify", func(w http.ResponseWriter, _ *http.Request) {
		if users["mallory"] != nil {
			answer(w, httpv1.AuditCheck{Problem: "the hash of the event before it is another", At: 2, Events: 3})
			return
		}
		answer(w, httpv1.AuditCheck{Intact: true, Events: 3, Head: "hash3"})
	})
	mux.HandleFunc("POST /api/v1/deletions", func(w http.ResponseWriter, r *http.Request) {
		var d httpv1.NewDeletion
		switch {
		case !read(w, r, &d):
		case d.DryRun:
			answer(w, httpv1.Deletion{Query: d.Q, DryRun: true, Matched: 7})
		case d.Confirm < 7:
			refuse(w, http.StatusConflict, "", "7 pairs match, and at most 3 were confirmed.")
		default:
			answer(w, httpv1.Deletion{ID: "d1", Query: d.Q, Matched: 7, Deleted: 7, Bytes: 2048, SegmentsRewritten: 2, Proof: "Looked for 7 ids in 2 segments: none is there."})
		}
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		switch r.Header.Get("Authorization") {
		case "Bearer " + doorsKey:
			mux.ServeHTTP(w, r)
		case "Bearer weir_a_viewer":
			refuse(w, http.StatusForbidden, "admin", "Users are managed by an admin; this key is a viewer's.")
		case "":
			refuse(w, http.StatusUnauthorized, "", "Nobody is signed in, and no key was shown.")
		default:
			refuse(w, http.StatusUnauthorized, "", "The key is not good.")
		}
	})
}

func serveDoors(t *testing.T, tls bool) *httptest.Server {
	t.Helper()
	ts := httptest.NewUnstartedServer(doors(t))
	if tls {
		ts.StartTLS()
	} else {
		ts.Start()
	}
	t.Cleanup(ts.Close) // the scripts run in parallel, after this function
	return ts
}
