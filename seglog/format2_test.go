package seglog_test

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/weir-capture/weir/internal/keyring"
	"github.com/weir-capture/weir/internal/vfs"
	"github.com/weir-capture/weir/internal/vfs/faultfs"
	"github.com/weir-capture/weir/seglog"
)

// encryptedOnly is for tests that bring their own keys, of which one run is
// enough.
func encryptedOnly(t *testing.T) {
	t.Helper()
	if !encrypted {
		t.Skip("runs with encryption")
	}
}

func TestFilesOfVersion2(t *testing.T) {
	encryptedOnly(t)
	l := open(t, kept(t, "v2"), seglog.Options{})
	heads, damage := read(t, l)
	if !slices.Equal(heads, want(upTo(6)...)) || damage != nil || !l.Recovery().Clean {
		t.Errorf("%v %v %+v", heads, damage, l.Recovery())
	}
	if state, _, err := l.LastState(); string(state) != "3 before" && string(state) != "6 before" {
		t.Errorf("state %q %v", state, err)
	}
}

// Without keys, and with those of somebody else, nothing is touched.
func TestFilesOfVersion2NeedTheirKeys(t *testing.T) {
	encryptedOnly(t)
	for name, keys := range map[string]func(vfs.FS) (*keyring.Ring, error){
		"none": func(vfs.FS) (*keyring.Ring, error) { return nil, nil },
		"another ring": func(vfs.FS) (*keyring.Ring, error) {
			return testKeys(faultfs.New())
		},
	} {
		d := kept(t, "v2")
		before, err := d.Names()
		if err != nil {
			t.Fatal(err)
		}
		_, err = seglog.OpenFS(d, seglog.Options{Keys: keys})
		if err == nil || name == "none" && !errors.Is(err, keyring.ErrNoMaster) {
			t.Errorf("%s: %v", name, err)
		}
		if after, err := d.Names(); err != nil || !slices.Equal(after, before) {
			t.Errorf("%s: %v %v", name, after, err)
		}
	}
}

// The files of version 2 with a bit flipped in the body of record 1 and one in
// the header of record 3, and cut in the middle of record 5.
func TestDamagedFilesOfVersion2(t *testing.T) {
	encryptedOnly(t)
	l := open(t, kept(t, "v2-damaged"), seglog.Options{})
	heads, damage := read(t, l)
	if !slices.Equal(heads, want(0, 2, 4)) || len(damage) != 2 {
		t.Fatalf("%v %v", heads, damage)
	}
	if r := l.Recovery(); r.CutBytes != 50 || r.Clean {
		t.Errorf("%+v", r)
	}
	body, ok1 := errors.AsType[*seglog.CorruptError](damage[0])
	header, ok2 := errors.AsType[*seglog.CorruptError](damage[1])
	if !ok1 || !ok2 || body.Part != "body" || string(body.Head) != "head 1" || body.Offset != 280 || header.Part != "header" || header.Offset != 507+168 {
		t.Error(damage)
	}
}

// FuzzEncryptedSegment: whatever stands in an encrypted segment, a record that
// opens is one that was written there.
func FuzzEncryptedSegment(f *testing.F) {
	const name = "0000000000000000.seg"
	keys := map[string][]byte{}
	for _, n := range []string{keyring.FileName, keyring.CopyName} {
		b, err := os.ReadFile(filepath.Join("testdata", "v2", n))
		if err != nil {
			f.Fatal(err)
		}
		keys[n] = b
	}
	for _, dir := range []string{"v2", "v2-damaged"} {
		b, err := os.ReadFile(filepath.Join("testdata", dir, name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:300])
		swapped := slices.Concat(b[:168], b[280:393], b[168:280], b[393:])
		f.Add(swapped)
	}
	written := map[uint64]seglog.Record{168: rec(0), 280: rec(1), 393: rec(2)}
	f.Fuzz(func(t *testing.T, b []byte) {
		d := faultfs.New()
		for n, b := range maps.All(keys) {
			d.Put(n, b)
		}
		d.Put(name, b)
		l, err := seglog.OpenFS(d, seglog.Options{Keys: testKeys})
		if err != nil {
			return
		}
		defer l.Close()
		end := l.Next()
		for e, err := range l.Records(0) {
			if err != nil {
				continue
			}
			// A segment of version 1 is plain, and anybody's.
			if was, ok := written[e.Offset]; len(b) > 8 && bytes.HasPrefix(b[8:], []byte{2}) && e.Offset < end && (!ok || !bytes.Equal(e.Head, was.Head) || !bytes.Equal(e.Body, was.Body)) {
				t.Fatalf("a record that nobody wrote opens at %d: %q", e.Offset, e.Head)
			}
		}
		if _, err := l.Append(rec(7)); err != nil {
			t.Fatal(err)
		}
	})
}
