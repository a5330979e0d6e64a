package seglog_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-capture/weir/internal/keyring"
	"github.com/weir-capture/weir/internal/vfs"
	"github.com/weir-capture/weir/internal/vfs/faultfs"
	"github.com/weir-capture/weir/seglog"
)

// encrypted: the tests run a second time so (TestMain).
var encrypted bool

func TestMain(m *testing.M) {
	code := m.Run()
	if encrypted = true; code == 0 {
		fmt.Println("and with encryption")
		code = m.Run()
	}
	os.Exit(code)
}

// plainOnly is for tests of what plain files look like, byte for byte.
func plainOnly(t *testing.T) {
	t.Helper()
	if encrypted {
		t.Skip("of the format of plain segments")
	}
}

func testKeys(d vfs.FS) (*keyring.Ring, error) {
	m, err := keyring.ParseMaster(strings.Repeat("5e", 32))
	if err != nil {
		return nil, err
	}
	return keyring.Open(d, m)
}

// withKeys is for logs that are the tests' own to choose.
func withKeys(opt seglog.Options) seglog.Options {
	if encrypted && opt.Keys == nil {
		opt.Keys = testKeys
	}
	return opt
}

// putKeys copies the keys of a disk to another.
func putKeys(to, from *faultfs.FS) {
	for _, n := range []string{keyring.FileName, keyring.CopyName} {
		if b := from.Get(n); b != nil {
			to.Put(n, b)
		}
	}
}

// sealed is what encryption adds to a head, and to a body.
func sealed() int64 {
	if encrypted {
		return 28
	}
	return 0
}

const canary = "canary-4711-in-a-record"

func canaryLog(t *testing.T, d vfs.FS, opt seglog.Options, n int) *seglog.Log {
	t.Helper()
	opt.State = func() []byte { return []byte("state " + canary) }
	l := open(t, d, opt)
	for i := range n {
		if _, err := l.Append(seglog.Record{Head: fmt.Appendf(nil, "head %d %s", i, canary), Body: fmt.Appendf(nil, "body %d %s", i, canary)}); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

func canaries(t *testing.T, d *faultfs.FS) (n int) {
	t.Helper()
	names, err := d.Names()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		n += bytes.Count(d.Get(name), []byte(canary))
	}
	return n
}

func TestS26NothingReadableIsInTheFiles(t *testing.T) {
	d := faultfs.New()
	l := canaryLog(t, d, seglog.Options{SegmentBytes: 400, Keys: testKeys}, 20)
	if n := canaries(t, d); n != 0 {
		t.Errorf("the canary stands in the files %d times", n)
	}
	for _, s := range l.Segments() {
		if s.Key == 0 {
			t.Error(s.Name, "is not encrypted")
		}
	}
	if state, _, err := l.LastState(); err != nil || !strings.Contains(string(state), canary) {
		t.Errorf("%q %v", state, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := seglog.OpenFS(d.Kill(), seglog.Options{})
	if e, ok := errors.AsType[*seglog.EncryptedError](err); !ok || !strings.Contains(err.Error(), "ENCRYPTION_KEY") {
		t.Error(e, err)
	}
	if encrypted {
		return // so are all of this run
	}
	plain := faultfs.New()
	canaryLog(t, plain, seglog.Options{SegmentBytes: 400}, 20)
	if canaries(t, plain) < 40 {
		t.Error("nor in those of a plain log: the test proves nothing")
	}
}

// Turning it on rewrites nothing, and both kinds of segments are read.
func TestTurningEncryptionOn(t *testing.T) {
	d := faultfs.New()
	l := open(t, d, seglog.Options{SegmentBytes: 300})
	for i := range 6 {
		add(t, l, i)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := d.Names()
	if err != nil {
		t.Fatal(err)
	}
	before := map[string][]byte{}
	for _, n := range names {
		before[n] = d.Get(n)
	}
	for range 2 {
		l = open(t, d, seglog.Options{SegmentBytes: 300, Keys: testKeys})
		heads, _ := read(t, l)
		add(t, l, len(heads))
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	l = open(t, d, seglog.Options{SegmentBytes: 300, Keys: testKeys})
	if heads, damage := read(t, l); !slices.Equal(heads, want(upTo(8)...)) || damage != nil {
		t.Error(heads, damage)
	}
	for n, b := range before {
		if strings.HasSuffix(n, ".seg") && !bytes.Equal(b, d.Get(n)) {
			t.Error(n, "was changed")
		}
	}
}

// A record is of no use in any other place.
func TestS26RecordsCannotBeSwapped(t *testing.T) {
	d := faultfs.New()
	l := open(t, d, seglog.Options{SegmentBytes: 1000, Keys: testKeys})
	var at []uint64
	for i := range 16 {
		if _, err := l.Append(seglog.Record{Head: []byte("head 7"), Body: rec(7).Body, Committed: func(offset, _ uint64) { at = append(at, offset) }}); err != nil {
			t.Fatal(i, err)
		}
	}
	segs := l.Segments()
	length := at[1] - at[0]
	for i := range at {
		for j := range at {
			if i == j {
				continue
			}
			c := d.Fork()
			from, to := segmentOf(segs, at[i]), segmentOf(segs, at[j])
			b, target := c.Get(from.Name), c.Get(to.Name)
			moved := bytes.Clone(b[at[i]-from.Base : at[i]-from.Base+length])
			copy(target[at[j]-to.Base:], seglog.Moved(moved, at[j], target))
			c.Put(to.Name, target)
			l := open(t, c, seglog.Options{Keys: testKeys})
			if e, err := l.ReadAt(at[j]); err == nil {
				t.Fatalf("record %d was read in place %d: %q", i, j, e.Head)
			} else if _, ok := errors.AsType[*seglog.CorruptError](err); !ok {
				t.Fatal(err)
			}
		}
	}
}

func segmentOf(segs []seglog.SegmentInfo, at uint64) seglog.SegmentInfo {
	for _, s := range segs {
		if s.Base <= at && at < s.End {
			return s
		}
	}
	return seglog.SegmentInfo{}
}

// No nonce is used twice, also where an offset is written again.
func TestNoncesAreNeverReused(t *testing.T) {
	d := faultfs.New()
	seen := map[string]bool{}
	look := func(d *faultfs.FS) {
		names, err := d.Names()
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range names {
			if !strings.HasSuffix(n, ".seg") {
				continue
			}
			for _, nonce := range seglog.Nonces(d.Get(n)) {
				if seen[nonce] {
					t.Fatal("a nonce was used twice")
				}
				seen[nonce] = true
			}
		}
	}
	for i := range 30 {
		c := d.Fork()
		l := open(t, c, seglog.Options{SegmentBytes: 1 << 20, Keys: testKeys})
		if _, err := l.Append(rec(i)); err != nil {
			t.Fatal(err)
		}
		look(c) // each run writes the same offsets again, from the same disk
	}
	if len(seen) < 100 {
		t.Error(len(seen), "nonces: the test proves little")
	}
}

// Each UTC day has segments of its own, and those of one that is shredded are
// passed over while the others stay.
func TestS26ShreddedDay(t *testing.T) {
	d := faultfs.New()
	now := time.Date(2026, 11, 23, 23, 50, 0, 0, time.UTC)
	opt := seglog.Options{SegmentAge: 100 * time.Hour, Keys: testKeys, Now: func() time.Time { return now }}
	var ring *keyring.Ring
	opt.Keys = func(d vfs.FS) (r *keyring.Ring, err error) {
		ring, err = testKeys(d)
		return ring, err
	}
	l := open(t, d, opt)
	for i := range 9 {
		add(t, l, i)
		now = now.Add(8 * time.Hour)
	}
	segs := l.Segments()
	if len(segs) != 4 {
		t.Fatalf("%d segments of 4 days", len(segs))
	}
	if err := ring.Shred(now, segs[1].Key); err != nil {
		t.Fatal(err)
	}
	l.Forget(segs[1].Key)
	check := func(l *seglog.Log) {
		t.Helper()
		heads, gone := read(t, l)
		if !slices.Equal(heads, want(0, 4, 5, 6, 7, 8)) || len(gone) != 1 {
			t.Error(heads, gone)
		}
		r, ok := errors.AsType[*seglog.RemovedError](errors.Join(gone...))
		if !ok || r.To != segs[1].End {
			t.Error(gone)
		}
		if s := l.Segments(); !s[1].Gone || s[0].Gone || s[2].Gone {
			t.Error(s)
		}
	}
	check(l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	check(open(t, d, opt))
}

// A key goes with the last segment of its day; today's stays.
func TestKeysGoWithTheirSegments(t *testing.T) {
	d := faultfs.New()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	l := open(t, d, seglog.Options{Keys: testKeys, Now: func() time.Time { return now }})
	for i := range 3 {
		add(t, l, i)
		now = now.Add(24 * time.Hour)
	}
	segs := l.Segments()
	if err := l.RemoveBefore(segs[1].End); err != nil {
		t.Fatal(err)
	}
	ring, err := testKeys(d)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range segs {
		_, err := ring.Key(s.Key)
		if gone := errors.Is(err, keyring.ErrShredded); gone != (i < 2) {
			t.Errorf("key of segment %d: %v", i, err)
		}
	}
}

func TestRewrite(t *testing.T) {
	d := faultfs.New()
	opt := withKeys(seglog.Options{SegmentBytes: 4000})
	l := open(t, d, opt)
	for i := range 30 {
		body := bytes.Repeat([]byte{byte(i)}, 200)
		if i%3 == 0 {
			body = append(body, canary...)
		}
		if _, err := l.Append(seglog.Record{Head: fmt.Appendf(nil, "head %d", i), Body: body}); err != nil {
			t.Fatal(err)
		}
	}
	segs := l.Segments()
	if len(segs) < 2 {
		t.Fatal(segs)
	}
	if _, err := l.Rewrite(segs[len(segs)-1].Base, nil); err == nil {
		t.Error("the newest segment is rewritten while it is written to")
	}
	if err := l.Rotate(); err != nil {
		t.Fatal(err)
	}
	type place struct {
		off, next uint64
		head      string
	}
	places := func(l *seglog.Log) (list []place) {
		for e, err := range l.Records(0) {
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, place{e.Offset, 0, string(e.Head)})
		}
		return list
	}
	before := places(l)
	reader := l.Reader(0) // holds the file that goes
	if _, err := reader.TryNext(); err != nil {
		t.Fatal(err)
	}
	change := func(e seglog.Entry, room int) (*seglog.Record, error) {
		if room != len(e.Head)+len(e.Body) {
			t.Errorf("room of %d bytes for %d", room, len(e.Head)+len(e.Body))
		}
		if !bytes.Contains(e.Body, []byte(canary)) {
			return nil, nil
		}
		body := []byte("short")
		if e.Offset%2 == 0 {
			body = bytes.Repeat([]byte("x"), len(e.Body)) // exactly as long
		}
		return &seglog.Record{Head: e.Head, Body: body}, nil
	}
	records := 0
	for _, s := range l.Segments() {
		w, err := l.Rewrite(s.Base, change)
		if err != nil {
			t.Fatal(err)
		}
		records += w.Records
		if (w.Records == 0) != (w.Before == w.After) || w.Segment != s.Name {
			t.Errorf("%+v", w)
		}
	}
	if records != 10 {
		t.Errorf("%d records replaced", records)
	}
	if n := canaries(t, d); n != 0 {
		t.Errorf("the canary stands in the files %d times", n)
	}
	if after := places(l); !slices.Equal(before, after) {
		t.Errorf("records moved:\n%v\n%v", before, after)
	}
	n := 1
	for ; ; n++ {
		if _, err := reader.TryNext(); errors.Is(err, seglog.ErrEnd) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if reader.Close(); n != 30 {
		t.Errorf("a reader that was under way saw %d records", n)
	}
	add(t, l, 30)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, d.Kill(), opt)
	if after := places(l); len(after) != 31 || !slices.Equal(before, after[:30]) || l.Recovery().CutBytes != 0 {
		t.Errorf("after a start: %v %+v", after, l.Recovery())
	}
	// What does not fit is refused, and nothing is left of the attempt.
	_, err := l.Rewrite(l.Segments()[0].Base, func(e seglog.Entry, room int) (*seglog.Record, error) {
		return &seglog.Record{Body: make([]byte, room-1)}, nil
	})
	if err == nil {
		t.Error("a record that leaves one byte was taken")
	}
}

// Power goes at any moment of a rewriting: the old file is there or the new
// one, each whole.
func TestRewriteCrash(t *testing.T) {
	d := faultfs.New()
	opt := withKeys(seglog.Options{SegmentBytes: 1 << 20})
	l := open(t, d, opt)
	for i := range 12 {
		add(t, l, i)
	}
	if err := l.Rotate(); err != nil {
		t.Fatal(err)
	}
	trace := d.Record()
	if _, err := l.Rewrite(l.Segments()[0].Base, func(e seglog.Entry, room int) (*seglog.Record, error) {
		if string(e.Head) != "head 5" {
			return nil, nil
		}
		return &seglog.Record{Head: []byte("head 5"), Body: make([]byte, room-len(e.Head))}, nil
	}); err != nil {
		t.Fatal(err)
	}
	done := d.Events()
	for n, disks := range trace.Prefixes() {
		for seed := range uint64(6) {
			c := disks.Crash(rand.New(rand.NewPCG(seed, uint64(n))))
			l := open(t, c, opt)
			i := 0
			for e, err := range l.Records(0) {
				if err != nil || string(e.Head) != fmt.Sprintf("head %d", i) {
					t.Fatal(n, i, err)
				}
				isNew := bytes.Equal(e.Body, make([]byte, len(e.Body)))
				if i == 5 && n >= done && !isNew {
					t.Fatal("the old record is there after Rewrite returned")
				}
				if i != 5 && !bytes.Equal(e.Body, rec(i).Body) || i == 5 && !isNew && !bytes.Equal(e.Body, rec(5).Body) {
					t.Fatal(n, i, "is neither")
				}
				i++
			}
			if i != 12 {
				t.Fatalf("%d records at event %d", i, n)
			}
			if names, _ := c.Names(); slices.ContainsFunc(names, func(n string) bool { return strings.HasSuffix(n, ".seg.tmp") }) {
				t.Fatal("half a file was left:", names)
			}
		}
	}
}

// What retention removes goes from quarantine too.
func TestR37QuarantineGoesWithItsSegment(t *testing.T) {
	d := faultfs.New()
	l := open(t, d, withKeys(seglog.Options{SegmentBytes: 300}))
	for i := range 10 {
		add(t, l, i)
	}
	segs := l.Segments()
	for i, s := range segs[:2] {
		c := &seglog.CorruptError{Segment: s.Name, Offset: s.Base + 64, Next: s.End, Part: "body"}
		if err := l.Quarantine(c); err != nil {
			t.Fatal(i, err)
		}
	}
	if err := l.RemoveBefore(segs[0].End); err != nil {
		t.Fatal(err)
	}
	q, err := d.Sub("quarantine")
	if err != nil {
		t.Fatal(err)
	}
	names, err := q.Names()
	if err != nil && !errors.Is(err, fs.ErrNotExist) || len(names) != 1 || !strings.HasPrefix(names[0], fmt.Sprintf("%016x", segs[1].Base+64)) {
		t.Error(names, err)
	}
}
