package ring

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"github.com/weir-capture/weir/internal/vfs"
	"github.com/weir-capture/weir/internal/vfs/faultfs"
)

// content is what record seq of a test holds.
func content(seq uint64, size int) []byte {
	return bytes.Repeat(fmt.Appendf(nil, "plain text of %d;", seq), size/16+1)[:size]
}

// feeder appends records that follow one another.
type feeder struct {
	*Ring
	next uint64
}

func feed(r *Ring) *feeder { return &feeder{Ring: r, next: 1} }

func (f *feeder) put(size, pairs int) error {
	rec := Record{Seq: f.next, Pairs: pairs, Held: int64(size + 1)}
	err := f.Append(rec, content(rec.Seq, size))
	if err == nil {
		f.next++
	}
	return err
}

// take pops a record and compares it with what was put.
func (f *feeder) take(t *testing.T, want uint64) {
	t.Helper()
	rec, ok := f.Oldest()
	if !ok || rec.Seq != want {
		t.Fatalf("the oldest is %d (%v), want %d", rec.Seq, ok, want)
	}
	data, err := f.Pop(nil)
	if err != nil || !bytes.Equal(data, content(want, int(rec.Held)-1)) {
		t.Fatalf("record %d: %q %v", want, data, err)
	}
}

func TestInOrderAndBounded(t *testing.T) {
	fs := faultfs.New()
	f := feed(New(fs, 256<<10))
	taken := uint64(1)
	full := 0
	for i := range 2000 {
		err := f.put(100+i*7%5000, i%65)
		if errors.Is(err, ErrFull) {
			full++
			for range 20 {
				f.take(t, taken)
				taken++
			}
		} else if err != nil {
			t.Fatal(err)
		}
		if used := fs.Used(); used != f.Used() || used > f.Limit() {
			t.Fatalf("%d bytes are there, the ring says %d of %d", used, f.Used(), f.Limit())
		}
	}
	for ; taken < f.next; taken++ {
		f.take(t, taken)
	}
	if full == 0 {
		t.Error("it was never full")
	}
	if _, ok := f.Oldest(); ok || f.Used() != 0 || fs.Used() != 0 {
		t.Errorf("an empty ring takes %d bytes", f.Used())
	}
}

// TestNoPlainText: nothing of a record can be read on the disk, and the same
// bytes never look the same.
func TestNoPlainText(t *testing.T) {
	dir := faultfs.New()
	r := New(dir, 1<<20)
	for i := range 40 {
		if err := r.Append(Record{Seq: uint64(i + 1), Pairs: 1}, bytes.Repeat([]byte("secret-"), 2000)); err != nil {
			t.Fatal(err)
		}
	}
	names, _ := dir.Names()
	if len(names) < 3 {
		t.Fatalf("%d segments", len(names))
	}
	seen := map[string]string{}
	for _, name := range names {
		b := dir.Get(name)
		if bytes.Contains(b, []byte("secret")) {
			t.Errorf("%s can be read", name)
		}
		for i := 0; i+64 <= len(b); i += 16 {
			if where := seen[string(b[i:i+64])]; where != "" {
				t.Fatalf("%s at %d is as %s", name, i, where)
			}
			seen[string(b[i:i+64])] = fmt.Sprint(name, " at ", i)
		}
	}
}

// overwrite changes a file that may be open.
func overwrite(t *testing.T, dir vfs.FS, name string, b []byte) {
	t.Helper()
	f, err := dir.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
}

// TestOneFlippedBitCostsOneRecord, and no more; a file that is gone costs what
// was in it.
func TestOneFlippedBitCostsOneRecord(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		dir := faultfs.New()
		f := feed(New(dir, 1<<20))
		for range 60 {
			if err := f.put(500+rng.IntN(500), 3); err != nil {
				t.Fatal(err)
			}
		}
		names, _ := dir.Names()
		name := names[rng.IntN(len(names))]
		b := dir.Get(name)
		b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
		overwrite(t, dir, name, b)
		lost := 0
		for seq := uint64(1); seq <= 60; seq++ {
			rec, _ := f.Oldest()
			if rec.Seq != seq || rec.Pairs != 3 {
				t.Fatalf("%+v, want record %d", rec, seq)
			}
			data, err := f.Pop(nil)
			switch {
			case errors.Is(err, ErrDamaged):
				lost++
			case err != nil || !bytes.Equal(data, content(seq, int(rec.Held)-1)):
				t.Fatalf("record %d: %v", seq, err)
			}
		}
		if lost != 1 || dir.Used() != 0 {
			t.Fatalf("%d records are lost; %d bytes remain", lost, dir.Used())
		}
	}
}

func TestRecordsCannotBeExchanged(t *testing.T) {
	dir := faultfs.New()
	f := feed(New(dir, 1<<20))
	for range 2 {
		if err := f.put(1000, 1); err != nil {
			t.Fatal(err)
		}
	}
	names, _ := dir.Names()
	b := dir.Get(names[0])
	n := len(b) / 2
	overwrite(t, dir, names[0], append(bytes.Clone(b[n:]), b[:n]...))
	for range 2 {
		if _, err := f.Pop(nil); !errors.Is(err, ErrDamaged) {
			t.Errorf("a record passes for another: %v", err)
		}
	}
}

func TestRecordsMustFollow(t *testing.T) {
	r := New(faultfs.New(), 1<<20)
	if err := r.Append(Record{Seq: 7, Pairs: 3}, []byte("a")); err != nil {
		t.Fatal(err)
	}
	for _, rec := range []Record{{Seq: 7}, {Seq: 9}, {Seq: 6}} {
		if err := r.Append(rec, []byte("b")); err == nil {
			t.Errorf("%+v was taken", rec)
		}
	}
	if err := r.Append(Record{Seq: 8}, []byte("b")); err != nil {
		t.Error(err)
	}
}

// TestRandomFaults: whatever the disk does, what Append took comes back as it
// was or with an error, in order, and the space comes back too.
func TestRandomFaults(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir := faultfs.New()
		capacity := rapid.Int64Range(8<<10, 128<<10).Draw(t, "capacity")
		dir.SetCapacity(capacity)
		dir.SetFault(func(op faultfs.Op) *faultfs.Fault {
			if (op.Kind == "write" || op.Kind == "truncate" || op.Kind == "remove" || op.Kind == "create") && rapid.IntRange(0, 9).Draw(t, "fault") == 0 {
				return &faultfs.Fault{Err: syscall.EIO, Short: op.Len / 2}
			}
			return nil
		})
		r := New(dir, 64<<10)
		next := uint64(1)
		var queued []Record
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			if rapid.IntRange(0, 2).Draw(t, "step") > 0 {
				rec := Record{Seq: next, Pairs: rapid.IntRange(0, 64).Draw(t, "pairs"), Held: rapid.Int64Range(0, 5000).Draw(t, "size")}
				if r.Append(rec, content(rec.Seq, int(rec.Held))) == nil {
					queued, next = append(queued, rec), next+1
				}
				continue
			}
			rec, ok := r.Oldest()
			if ok != (len(queued) > 0) || ok && rec != queued[0] {
				t.Fatalf("the oldest is %+v (%v), want %+v", rec, ok, queued)
			}
			if ok {
				data, err := r.Pop(nil)
				if err != nil || !bytes.Equal(data, content(rec.Seq, int(rec.Held))) {
					t.Fatalf("record %d: %v", rec.Seq, err)
				}
				queued = queued[1:]
			}
			if dir.Used() > r.Used() {
				t.Fatalf("%d bytes are there, the ring says %d", dir.Used(), r.Used())
			}
		}
		dir.SetFault(nil)
		if err := r.Close(); err != nil || r.Used() != 0 || dir.Used() != 0 {
			t.Fatalf("%v; %d bytes remain", err, dir.Used())
		}
	})
}

const (
	nameA = "0123456789abcdef0123456789abcdef"
	nameB = "fedcba9876543210fedcba9876543210"
)

// TestOpen: each process has a directory of its own, which nobody else may
// read, and which goes with it.
func TestOpen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "rings")
	a, _, err := Open(dir, nameA, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Append(Record{Seq: 1}, []byte("a")); err != nil {
		t.Fatal(err)
	}
	b, swept, err := Open(dir, nameB, 1<<20)
	if err != nil || swept != (Swept{}) {
		t.Fatalf("%+v %v", swept, err)
	}
	for path, want := range map[string]fs.FileMode{
		dir: 0o700, filepath.Join(dir, nameA): 0o700, filepath.Join(dir, nameA, "0000000000000000.ring"): 0o600,
	} {
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: %v %v", path, st, err)
		}
	}
	if data, err := a.Pop(nil); err != nil || string(data) != "a" {
		t.Errorf("%q %v", data, err)
	}
	for _, r := range []*Ring{a, b} {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 || left[0].Name() != lockFile {
		t.Errorf("%v %v", left, err)
	}
	for _, name := range []string{"", "a", nameA + "0", "../" + nameA[3:], strings.ToUpper(nameA)} {
		if _, _, err := Open(dir, name, 1<<20); err == nil {
			t.Errorf("%q is a name", name)
		}
	}
}

// TestSweepTouchesNothingElse.
func TestSweepTouchesNothingElse(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	keep := []string{
		filepath.Join(dir, "notes.txt"), filepath.Join(elsewhere, "x.ring"),
		filepath.Join(dir, nameB, "notes.txt"), filepath.Join(dir, "data", "x.ring"),
	}
	for _, path := range keep {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("x"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(elsewhere, filepath.Join(dir, strings.Repeat("a", 32))); err != nil {
		t.Fatal(err)
	}
	r, swept, err := Open(dir, nameA, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if swept.Err == nil {
		t.Error("a directory that could not be removed is not named")
	}
	for _, path := range keep {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// TestR15NothingOfAKilledProcessIsLeft: after a kill -9 nothing of the ring can
// be read, and the next start removes it.
func TestR15NothingOfAKilledProcessIsLeft(t *testing.T) {
	const secret = "card 4111 1111 1111 1111"
	if dir := os.Getenv("RING_OF_A_PROCESS_TO_KILL"); dir != "" {
		r, _, err := Open(dir, nameA, 1<<20)
		if err == nil {
			err = r.Append(Record{Seq: 1, Pairs: 1}, bytes.Repeat([]byte(secret), 500))
		}
		fmt.Println(err)
		_, _ = io.Copy(io.Discard, os.Stdin) // until it is killed
		return
	}
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "RING_OF_A_PROCESS_TO_KILL="+dir)
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 6)
	if _, err := io.ReadFull(out, line); err != nil || string(line) != "<nil>\n" {
		t.Fatalf("%q %v", line, err)
	}
	// While it lives its ring is not touched.
	other, swept, err := Open(dir, nameB, 1<<20)
	if err != nil || swept != (Swept{}) {
		t.Fatalf("%+v %v", swept, err)
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	found := 0
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if strings.HasSuffix(path, suffix) {
			found += len(b)
		}
		if bytes.Contains(b, []byte(secret[:8])) {
			t.Errorf("%s can be read", path)
		}
		return err
	})
	if err != nil || found < 500*len(secret) {
		t.Fatalf("%d bytes, %v", found, err)
	}
	r, swept, err := Open(dir, nameB, 1<<20)
	if err != nil || swept.Rings != 1 || swept.Bytes != int64(found) || swept.Err != nil {
		t.Fatalf("%+v %v", swept, err)
	}
	if _, ok := r.Oldest(); ok || r.Used() != 0 {
		t.Error("something of it is used again")
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, nameA)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestOneAtATimeMakesARing(t *testing.T) {
	dir := t.TempDir()
	above, err := vfs.Dir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer above.Close()
	lock, err := above.Lock(lockFile)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = Open(dir, nameA, 1<<20)
	if _, busy := errors.AsType[*vfs.LockedError](err); !busy {
		t.Errorf("%v", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	r, _, err := Open(dir, nameA, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}
