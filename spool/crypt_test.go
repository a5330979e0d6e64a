package spool_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-capture/weir/internal/keyring"
	"github.com/weir-capture/weir/seglog"
	"github.com/weir-capture/weir/spool"
)

// encryptedRun, when set, has all spools of these tests encrypted.
const encryptedRun = "SPOOL_TEST_ENCRYPTED"

func testMaster(t testing.TB) *keyring.Master {
	t.Helper()
	m, err := keyring.ParseMaster(strings.Repeat("5e", 32))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func withKey(opt spool.Options) spool.Options {
	if os.Getenv(encryptedRun) != "" && opt.Master == nil {
		opt.Master, _ = keyring.ParseMaster(strings.Repeat("5e", 32))
	}
	return opt
}

// TestS26AllPromisesHoldEncrypted runs all these tests again, with encryption.
func TestS26AllPromisesHoldEncrypted(t *testing.T) {
	if os.Getenv(encryptedRun) != "" {
		return
	}
	args := []string{"-test.run=.", "-test.timeout=10m"}
	if testing.Short() {
		args = append(args, "-test.short")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), encryptedRun+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func TestS26EncryptedSpool(t *testing.T) {
	dir := t.TempDir()
	opt := spool.Options{MaxBytes: 1 << 20, WhenFull: spool.DropOldest, Cursors: []string{"a"}, Master: testMaster(t)}
	s, err := spool.Open(dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if _, err := s.Append(seglog.Record{Head: []byte("canary-of-a-spool"), Body: []byte("canary-of-a-spool")}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil || bytes.Contains(b, []byte("canary")) {
			t.Error(e.Name(), "can be read,", err)
		}
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Error(e.Name(), info.Mode(), err)
		}
	}
	opt.Master = nil
	if _, err := spool.Open(dir, opt); err == nil || !strings.Contains(err.Error(), "ENCRYPTION_KEY") {
		t.Error(err)
	}
}
