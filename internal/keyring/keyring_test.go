package keyring_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-capture/weir/internal/keyring"
	"github.com/weir-capture/weir/internal/vfs"
	"github.com/weir-capture/weir/internal/vfs/faultfs"
)

var day = time.Date(2026, 11, 23, 22, 0, 0, 0, time.UTC)

func text(n byte) string { return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{n}, 32)) }

func master(t testing.TB, text string) *keyring.Master {
	t.Helper()
	m, err := keyring.ParseMaster(text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func open(t testing.TB, d vfs.FS, text string) *keyring.Ring {
	t.Helper()
	r, err := keyring.Open(d, master(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func current(t testing.TB, r *keyring.Ring, now time.Time) (uint16, []byte) {
	t.Helper()
	id, key, err := r.Current(now)
	if err != nil {
		t.Fatal(err)
	}
	return id, bytes.Clone(key)
}

func TestParseMaster(t *testing.T) {
	for _, good := range []string{text(1), strings.TrimRight(text(1), "="), hex.EncodeToString(make([]byte, 32)), text(1) + "," + text(2), " " + text(1) + " "} {
		if _, err := keyring.ParseMaster(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	secret := "c2VjcmV0LXRoYXQtaXMtdG9vLXNob3J0"
	for _, bad := range []string{"", ",", secret, text(1) + ",", "not a key at all!", strings.Repeat("a", 65), text(1) + strings.Repeat(","+text(2), 4)} {
		_, err := keyring.ParseMaster(bad)
		if err == nil {
			t.Errorf("%q is taken", bad)
		} else if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "not a key") {
			t.Errorf("the error shows what was set: %v", err)
		}
	}
}

func TestOneKeyEachDay(t *testing.T) {
	d := faultfs.New()
	r := open(t, d, text(1))
	id1, k1 := current(t, r, day)
	again, k := current(t, r, day.Add(time.Hour))
	if again != id1 || !bytes.Equal(k, k1) {
		t.Error("the same day has two keys")
	}
	id2, k2 := current(t, r, day.Add(3*time.Hour))
	if id2 == id1 || bytes.Equal(k1, k2) {
		t.Error("two days have one key")
	}
	r = open(t, d.Kill(), text(1))
	if k, err := r.Key(id1); err != nil || !bytes.Equal(k, k1) {
		t.Error("after a start:", err)
	}
	if id, _ := current(t, r, day); id != id1 {
		t.Error("a start makes another key of the day")
	}
	if _, err := r.Key(99); !errors.Is(err, keyring.ErrUnknown) {
		t.Error(err)
	}
}

// A key that is not the right one changes nothing, and says whose it is not.
func TestWrongKey(t *testing.T) {
	d := faultfs.New()
	current(t, open(t, d, text(1)), day)
	before, copied := d.Get(keyring.FileName), d.Get(keyring.CopyName)
	_, err := keyring.Open(d, master(t, text(2)))
	if !errors.Is(err, keyring.ErrWrongKey) || !strings.Contains(err.Error(), "ENCRYPTION_KEY") || !strings.Contains(err.Error(), keyring.FileName) {
		t.Error(err)
	}
	if !bytes.Equal(before, d.Get(keyring.FileName)) || !bytes.Equal(copied, d.Get(keyring.CopyName)) {
		t.Error("a wrong key changed the files")
	}
}

func TestRotation(t *testing.T) {
	d := faultfs.New()
	id, key := current(t, open(t, d, text(1)), day)
	if k, err := open(t, d, text(2)+","+text(1)).Key(id); err != nil || !bytes.Equal(k, key) {
		t.Fatal(err)
	}
	if _, err := keyring.Open(d, master(t, text(1))); !errors.Is(err, keyring.ErrWrongKey) {
		t.Error("the old key still opens it:", err)
	}
	if k, err := open(t, d, text(2)).Key(id); err != nil || !bytes.Equal(k, key) {
		t.Error(err)
	}
	r, err := keyring.Read(d, master(t, text(3)+","+text(2)))
	if err != nil {
		t.Fatal(err)
	}
	if k, err := r.Key(id); err != nil || !bytes.Equal(k, key) {
		t.Error(err)
	}
	if _, err := keyring.Open(d, master(t, text(3))); !errors.Is(err, keyring.ErrWrongKey) {
		t.Error("reading wrapped the keys anew:", err)
	}
}

// Whatever is left of either file, on the disk and of the one that was there,
// has nothing of the wrapped key.
func TestS26ShreddedKeyIsNowhere(t *testing.T) {
	path := t.TempDir()
	d, err := vfs.Dir(path)
	if err != nil {
		t.Fatal(err)
	}
	r := open(t, d, text(1))
	id, _ := current(t, r, day)
	later, kept := current(t, r, day.Add(24*time.Hour))
	b, err := os.ReadFile(filepath.Join(path, keyring.FileName))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), `"wrapped": "`)
	wrapped, _, _ := strings.Cut(rest, `"`)
	old, err := os.Open(filepath.Join(path, keyring.FileName)) // the file that is replaced
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if err := r.Shred(day, id); err != nil {
		t.Fatal(err)
	}
	was := make([]byte, len(b))
	if n, _ := old.ReadAt(was, 0); n != len(b) || !bytes.Equal(was, make([]byte, len(b))) {
		t.Error("the replaced file still has something in it")
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(path, e.Name()))
		if err != nil || bytes.Contains(b, []byte(wrapped)) {
			t.Error(e.Name(), "has the wrapped key,", err)
		}
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Error(e.Name(), info.Mode(), err)
		}
	}
	for _, r := range []*keyring.Ring{r, open(t, d, text(1))} {
		if _, err := r.Key(id); !errors.Is(err, keyring.ErrShredded) {
			t.Error(err)
		}
		if k, err := r.Key(later); err != nil || !bytes.Equal(k, kept) {
			t.Error(err)
		}
	}
	if again, _ := current(t, r, day); again == id {
		t.Error("the day got the shredded key again")
	}
}

// Power goes at any moment of a shredding: the ring opens, with the key or
// without it, and nothing else is lost.
func TestCrashWhileShredding(t *testing.T) {
	d := faultfs.New()
	r := open(t, d, text(1))
	id, key := current(t, r, day)
	later, kept := current(t, r, day.Add(24*time.Hour))
	trace := d.Record()
	if err := r.Shred(day, id); err != nil {
		t.Fatal(err)
	}
	done := d.Events()
	for n, disks := range trace.Prefixes() {
		for seed := range uint64(8) {
			r := open(t, disks.Crash(rand.New(rand.NewPCG(seed, 1))), text(1))
			k, err := r.Key(id)
			if err == nil && !bytes.Equal(k, key) || err != nil && !errors.Is(err, keyring.ErrShredded) {
				t.Fatal(n, err)
			}
			if n >= done && err == nil {
				t.Fatal("the key is there after Shred returned")
			}
			if k, err := r.Key(later); err != nil || !bytes.Equal(k, kept) {
				t.Fatal(n, err)
			}
		}
	}
}

// One bit flips in either of the files: nothing is lost, and both are whole
// again.
func TestR18OneFlippedBit(t *testing.T) {
	d := faultfs.New()
	id, key := current(t, open(t, d, text(1)), day)
	for _, name := range []string{keyring.FileName, keyring.CopyName} {
		whole := d.Get(name)
		for at := range whole {
			c := d.Fork()
			b := bytes.Clone(whole)
			b[at] ^= 1 << (at % 8)
			c.Put(name, b)
			r := open(t, c, text(1))
			if k, err := r.Key(id); err != nil || !bytes.Equal(k, key) {
				t.Fatalf("byte %d: %v", at, err)
			}
			if !bytes.Equal(c.Get(keyring.FileName), c.Get(keyring.CopyName)) {
				t.Fatalf("byte %d: the files differ", at)
			}
		}
	}
	both := d.Fork()
	both.Put(keyring.FileName, []byte("{}"))
	both.Put(keyring.CopyName, nil)
	if _, err := keyring.Open(both, master(t, text(1))); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Error("a ring of which both files are damaged is made anew:", err)
	}
}

func FuzzFile(f *testing.F) {
	d := faultfs.New()
	r := open(f, d, text(1))
	id, _ := current(f, r, day)
	current(f, r, day.Add(24*time.Hour))
	f.Add(d.Get(keyring.FileName))
	if err := r.Shred(day, id); err != nil {
		f.Fatal(err)
	}
	f.Add(d.Get(keyring.FileName))
	f.Add([]byte(`{"format": 1, "sum": "00000000"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		// With a checksum that fits, so that what is behind it is reached too.
		for _, b := range [][]byte{b, keyring.Summed(b)} {
			d := faultfs.New()
			d.Put(keyring.FileName, b)
			r, err := keyring.Open(d, master(t, text(1)))
			if err != nil {
				continue
			}
			for _, day := range r.Days() {
				if _, err := r.Key(day.ID); err != nil && !errors.Is(err, keyring.ErrShredded) {
					t.Error(err)
				}
			}
			if _, _, err := r.Current(day); err != nil && !strings.Contains(err.Error(), "ids are used") {
				t.Error(err)
			}
		}
	})
}
