package forwarder_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/forwarder"
)

// secretive cuts a batch of one pair with a password in it.
func (p *proxy) secretive() {
	p.makeOf(1, func(pair *capturev1.RRPair) {
		pair.Query = "password=hunter2"
		pair.Request = &capturev1.Message{
			Head: []byte("GET /x?password=hunter2 HTTP/1.1\r\nAuthorization: Bearer hunter2\r\nContent-Type: application/json\r\n\r\n"),
			Body: []byte(`{"user":"me","internal":"hunter2","password":"hunter2"}`), BodySize: 54,
		}
	})
}

// TestRedaction: what a forwarder with rules hands on has no secret in it; the
// rules change while it runs, and a file with a mistake changes nothing
// (R34).
func TestRedaction(t *testing.T) {
	a := newAnalyzer(t)
	a.start()
	cfg := config(t, a.addr)
	file := filepath.Join(t.TempDir(), "rules.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg.DLPConfig = file
	write("rules:\n  - {name: a, what: cards}\n  - {name: b}\n")
	if _, err := forwarder.New(cfg, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "line 2") || !strings.Contains(err.Error(), "line 3") {
		t.Fatalf("wrong rules: %v", err)
	}
	write("extends: standard\n")
	f := run(t, cfg)
	p := newProxy(1)
	p.start(t, f.addr())
	last := func(internal bool) {
		t.Helper()
		p.secretive()
		poll(t, "the batch", func() error { return a.stored(all(p)) })
		a.mu.Lock()
		defer a.mu.Unlock()
		text := fmt.Sprint(a.last)
		if n := strings.Count(text, "hunter2"); internal && n != 1 || !internal && n != 0 {
			t.Errorf("the password is there %d times: %s", n, text)
		}
		if !slices.Contains(a.last.GetFlags(), capturev1.Flag_FLAG_REDACTED) || len(a.last.GetRedactions()) == 0 {
			t.Errorf("nothing says that it was redacted: %s", text)
		}
	}
	last(true)
	hangup := func(want string) {
		t.Helper()
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		poll(t, "a line of the log", func() error {
			if log := f.log.String(); !strings.Contains(log, want) {
				return fmt.Errorf("%q is not in %s", want, log)
			}
			return nil
		})
	}
	write("extends: standard\nrules:\n  - {name: internal, keys: [internal], in: [json]}\n")
	hangup("DLP rules are as DLP_CONFIG says")
	last(false)
	write("extends: standard\nrules:\n  - {name: internal, keys: [internal], in: [jsno]}\n")
	hangup(`line 3: rule \"internal\": in: \"jsno\"`)
	last(false)
	// The key that it made for itself is there after a restart.
	f.stop()
	key, err := os.ReadFile(filepath.Join(cfg.SpoolDir, "dlp.key"))
	if err != nil {
		t.Fatal(err)
	}
	token := func() string {
		a.mu.Lock()
		defer a.mu.Unlock()
		return string(a.last.GetRequest().GetHead())
	}
	before := token()
	write("extends: standard\nrules:\n  - {name: internal, keys: [internal], in: [json]}\n")
	again := run(t, cfg)
	p.start(t, again.addr())
	last(false)
	if after, _ := os.ReadFile(filepath.Join(cfg.SpoolDir, "dlp.key")); string(after) != string(key) || token() != before {
		t.Errorf("tokens after a restart: %q, before: %q", token(), before)
	}
	if st := a.lastStatus(); st.GetDlpConfig() != file {
		t.Errorf("the analyzer hears of rules %q", st.GetDlpConfig())
	}
	if log := f.log.String(); strings.Contains(log, "hunter2") || !strings.Contains(log, "DLP rule set is on") || !strings.Contains(log, "DLP_KEY is not set") {
		t.Errorf("the log: %s", log)
	}
}

// TestR18DamagedKey: a forwarder whose own key has rotted starts all the same,
// says so without the key, and keeps what is left of it.
func TestR18DamagedKey(t *testing.T) {
	dir := t.TempDir()
	var text strings.Builder
	log := slog.New(slog.NewTextHandler(&text, nil))
	if _, err := forwarder.OwnKeys(dir, log); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "dlp.key")
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if text.Len() > 0 {
		t.Errorf("a new key: %s", text.String())
	}
	bad := append([]byte{good[0] ^ 0x80}, good[1:]...)
	if err := os.WriteFile(file, bad, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := forwarder.OwnKeys(dir, log); err != nil {
		t.Fatal(err)
	}
	if log := text.String(); !strings.Contains(log, "damaged") || strings.Contains(log, string(good[1:20])) {
		t.Errorf("the log: %s", log)
	}
	fresh, err := os.ReadFile(file)
	if err != nil || bytes.Equal(fresh, bad) || bytes.Equal(fresh, good) {
		t.Errorf("the key is %q, %v", fresh, err)
	}
	if aside, err := os.ReadFile(file + ".damaged"); err != nil || !bytes.Equal(aside, bad) {
		t.Errorf("set aside was %q, %v", aside, err)
	}
	text.Reset()
	if _, err := forwarder.OwnKeys(dir, log); err != nil || text.Len() > 0 {
		t.Errorf("the next start: %v, %s", err, text.String())
	}
}
