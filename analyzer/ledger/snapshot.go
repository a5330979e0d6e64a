package ledger

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"maps"
	"slices"

	"github.com/google/uuid"
	"github.com/klauspost/compress/zstd"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/internal/atomicfile"
)

// The snapshot's file: magic (whose last byte is the version), the CRC-32C of
// what follows (4 bytes, big endian), and the account as JSON in a zstd frame
// (RFC 8878).
const (
	// FileName is the snapshot's, in the store's directory.
	FileName = "LEDGER"
	// maxFile bounds the file, maxJSON what is in it.
	maxFile = 256 << 20
	maxJSON = 1 << 30
)

var (
	magic      = []byte("weirledger\x01")
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// snapshot is the account as it is written. Everything is in a fixed order, so
// that the same account gives the same bytes.
type snapshot struct {
	Store string `json:"store"`
	Since int64  `json:"since"`
	Place uint64 `json:"place"`

	Rules []string `json:"rules"`
	Drops []Drop   `json:"drops"`

	Apps       []appState       `json:"apps"`
	Processes  []processState   `json:"processes"`
	Forwarders []forwarderState `json:"forwarders"`
	Spools     []spoolState     `json:"spools"`

	Gaps          []*stretch `json:"gaps"`
	NextGap       uint64     `json:"next_gap"`
	GapsForgotten uint64     `json:"gaps_forgotten"`

	Damaged []uint64 `json:"damaged,omitempty"`
	Erasing *erasing `json:"erasing,omitempty"`

	Folded          []Epoch `json:"folded"`
	FoldedCount     uint64  `json:"folded_count"`
	Deaths          []Death `json:"deaths"`
	DeathsForgotten uint64  `json:"deaths_forgotten"`
}

type appState struct {
	App    App                    `json:"app"`
	Flow   flow                   `json:"flow"`
	Level  level                  `json:"level"`
	Folded level                  `json:"folded"`
	Rows   [len(tiers)][]rowState `json:"rows"`
}

type rowState struct {
	At    int64 `json:"at"`
	Flow  flow  `json:"f"`
	Level level `json:"l"`
	Set   int64 `json:"t,omitempty"`
}

type processState struct {
	Epoch    Epoch     `json:"epoch"`
	App      App       `json:"app"`
	ProxyID  string    `json:"proxy"`
	Started  int64     `json:"started"`
	Heard    int64     `json:"heard"`
	Reported int64     `json:"reported"`
	Newest   int64     `json:"newest"`
	Counters tallies   `json:"counters"`
	Base     tallies   `json:"base"`
	Slides   bool      `json:"slides,omitempty"`
	Here     spans     `json:"here"`
	Beyond   int64     `json:"beyond,omitempty"`
	Closed   int64     `json:"closed,omitempty"`
	Lost     []lostRun `json:"lost,omitempty"`
	Views    []view    `json:"views"`
	State    State     `json:"state"`
	Ended    int64     `json:"ended,omitempty"`
	Checked  uint64    `json:"checked,omitempty"`
	Settled  bool      `json:"settled,omitempty"`
	Check    check     `json:"check"`
	Entered  derived   `json:"entered"`
	Pending  []slot    `json:"pending,omitempty"`
}

type forwarderState struct {
	ID      string `json:"id"`
	Cluster string `json:"cluster"`
	Heard   int64  `json:"heard"`
}

type spoolState struct {
	ID uuid.UUID `json:"id"`
	spool
}

// MarshalText writes an epoch as 32 hexadecimal digits.
func (e Epoch) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, e[:]), nil }

// UnmarshalText reads it back.
func (e *Epoch) UnmarshalText(b []byte) error {
	if len(b) != 2*len(e) {
		return fmt.Errorf("epoch of %d digits", len(b))
	}
	if _, err := hex.Decode(e[:], b); err != nil {
		return fmt.Errorf("read epoch: %w", err)
	}
	return nil
}

// Removing makes sure that the commits before a place are not needed again. A
// store calls it before it removes them. Where no snapshot can be written they
// go all the same: what removes them may be what makes room for one.
func (l *Ledger) Removing(before uint64) {
	l.saving.Lock()
	safe := l.saved >= before
	l.saving.Unlock()
	if safe {
		return
	}
	if err := l.Save(); err != nil {
		l.log.Error("Could not save the ledger before retention removes what it counted", slog.String("error", err.Error()))
	}
}

// Hiding makes sure that what was told by Damaged is not forgotten. A store
// calls it before nobody comes upon that any more.
func (l *Ledger) Hiding() {
	if err := l.Save(); err != nil {
		l.log.Error("Could not save the ledger before damaged pairs are hidden", slog.String("error", err.Error()))
	}
}

// Save writes a snapshot when something changed since the last one.
func (l *Ledger) Save() error {
	// One at a time: an older one must not take the place of a newer.
	l.saving.Lock()
	defer l.saving.Unlock()
	l.mu.Lock()
	if !l.dirty || l.dir == nil {
		if l.dir != nil {
			l.saved = l.place
		}
		l.mu.Unlock()
		return nil
	}
	s, place := l.copied(), l.place
	l.dirty = false
	l.mu.Unlock()
	b, err := json.Marshal(s.snapshot())
	if err == nil {
		b, err = seal(b)
	}
	if err == nil {
		err = atomicfile.Write(l.dir, FileName, b)
	}
	if err != nil {
		l.mu.Lock()
		l.dirty = true
		l.mu.Unlock()
		return fmt.Errorf("save ledger: %w", err)
	}
	l.saved = place
	return nil
}

func seal(b []byte) ([]byte, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("open compressor: %w", err)
	}
	packed := enc.EncodeAll(b, nil)
	out := append([]byte{}, magic...)
	out = binary.BigEndian.AppendUint32(out, crc32.Checksum(packed, castagnoli))
	return append(out, packed...), nil
}

// unseal gives the JSON of a file.
func unseal(b []byte) ([]byte, error) {
	n := len(magic)
	switch {
	case len(b) < n+4 || !bytes.Equal(b[:n-1], magic[:n-1]):
		return nil, errors.New("it is no snapshot of a ledger")
	case b[n-1] != magic[n-1]:
		return nil, fmt.Errorf("it is of version %d, this program reads %d", b[n-1], magic[n-1])
	case crc32.Checksum(b[n+4:], castagnoli) != binary.BigEndian.Uint32(b[n:]):
		return nil, errors.New("its checksum is wrong")
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxJSON))
	if err != nil {
		return nil, fmt.Errorf("open decompressor: %w", err)
	}
	defer dec.Close()
	out, err := dec.DecodeAll(b[n+4:], nil)
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	return out, nil
}

// load reads the snapshot. After an error the ledger is in no fit state. l.mu
// is held.
func (l *Ledger) load() error {
	b, err := atomicfile.Read(l.dir, FileName, maxFile)
	if err != nil {
		return fmt.Errorf("read ledger: %w", err)
	}
	return l.restore(b)
}

func (l *Ledger) restore(b []byte) error {
	b, err := unseal(b)
	if err != nil {
		return fmt.Errorf("read ledger: %w", err)
	}
	return l.decode(b)
}

// decode takes over the JSON of a snapshot.
func (l *Ledger) decode(b []byte) error {
	var s snapshot
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("read ledger: %w", err)
	}
	if s.Store != l.opt.Store {
		return errors.New("read ledger: it is of another store")
	}
	return l.adopt(&s)
}

// copied is the account as it stands. Commits wait while it is made, so that
// putting it in order and into words comes later.
type copied struct {
	of   snapshot
	apps []app
}

// copied copies the account. l.mu is held.
func (l *Ledger) copied() *copied {
	c := &copied{of: snapshot{
		Store: l.opt.Store, Since: l.since, Place: l.place, Rules: l.rules.list, Drops: l.drops.list,
		NextGap: l.gaps.nextID, GapsForgotten: l.gaps.forgotten,
		Damaged: slices.AppendSeq(make([]uint64, 0, len(l.damaged)), maps.Keys(l.damaged)),
		Folded:  slices.Clone(l.folded), FoldedCount: l.foldedCount,
		Deaths: slices.Clone(l.deaths), DeathsForgotten: l.deathsForgotten,
		Processes: make([]processState, 0, len(l.processes)),
	}}
	s := &c.of
	if l.erasing != (erasing{}) {
		e := l.erasing
		s.Erasing = &e
	}
	gaps := make([]stretch, len(l.gaps.list))
	for i, g := range l.gaps.list {
		gaps[i] = *g
		s.Gaps = append(s.Gaps, &gaps[i])
	}
	for _, a := range l.apps {
		c.apps = append(c.apps, app{key: a.key, flow: a.flow.clone(), level: a.level, folded: a.folded, series: a.series.lend()})
	}
	for e, p := range l.processes {
		s.Processes = append(s.Processes, processState{
			Epoch: e, App: p.app.key, ProxyID: p.proxyID, Started: p.started, Heard: p.heard, Reported: p.reported, Newest: p.newest,
			Counters: p.counters.clone(), Base: p.base.clone(), Slides: p.slides, Here: slices.Clone(p.here), Beyond: p.beyond, Closed: p.closed,
			Lost: slices.Clone(p.lost), Views: slices.Clone(p.views), State: p.state, Ended: p.ended, Checked: p.checked, Settled: p.settled,
			Check: p.check, Entered: p.entered, Pending: slices.Clone(p.pending), // what was entered is made anew each time
		})
	}
	for _, f := range l.forwarders {
		s.Forwarders = append(s.Forwarders, forwarderState{f.id, f.cluster, f.heard})
	}
	for id, sp := range l.spools {
		s.Spools = append(s.Spools, spoolState{uuid.UUID(id), *sp})
	}
	return c
}

func (t *tallies) clone() tallies {
	c := *t
	c.Dropped = slices.Clone(t.Dropped)
	return c
}

// snapshot puts the copy in order.
func (c *copied) snapshot() *snapshot {
	s := &c.of
	slices.Sort(s.Damaged)
	slices.SortFunc(c.apps, func(a, b app) int { return a.key.compare(b.key) })
	for _, a := range c.apps {
		st := appState{App: a.key, Flow: a.flow, Level: a.level, Folded: a.folded}
		for i, rows := range a.series.rows {
			for _, at := range slices.Sorted(maps.Keys(rows)) {
				r := rows[at]
				st.Rows[i] = append(st.Rows[i], rowState{at, r.flow, r.level, r.Set})
			}
		}
		s.Apps = append(s.Apps, st)
	}
	slices.SortFunc(s.Processes, func(a, b processState) int { return slices.Compare(a.Epoch[:], b.Epoch[:]) })
	slices.SortFunc(s.Forwarders, func(a, b forwarderState) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(s.Spools, func(a, b spoolState) int { return slices.Compare(a.ID[:], b.ID[:]) })
	return s
}

// adopt takes over what a snapshot says. Whatever does not fit together is an
// error.
func (l *Ledger) adopt(s *snapshot) error {
	l.reset()
	l.since, l.place = s.Since, s.Place
	if s.Erasing != nil {
		l.erasing = *s.Erasing
	}
	if err := errors.Join(adoptWords(l.rules, s.Rules), adoptWords(l.drops, s.Drops)); err != nil {
		return fmt.Errorf("read ledger: %w", err)
	}
	bad := func(what string) error { return fmt.Errorf("read ledger: %s does not fit", what) }
	tallied := func(drops bool, all ...tally) bool {
		n := len(l.rules.list)
		if drops {
			n = len(l.drops.list)
		}
		for _, t := range all {
			for _, p := range t {
				if int(p.Key) >= n {
					return false
				}
			}
		}
		return true
	}
	flows := func(f *flow) bool { return tallied(false, f.Filtered) && tallied(true, f.Dropped) }
	for i := range s.Apps {
		st := &s.Apps[i]
		if l.apps[st.App] != nil || !flows(&st.Flow) {
			return bad("an app")
		}
		a := &app{key: st.App, flow: st.Flow, level: st.Level, folded: st.Folded}
		for i, rows := range st.Rows {
			for _, r := range rows {
				if !flows(&r.Flow) {
					return bad("a step")
				}
				*a.series.row(i, floor(r.At, tiers[i].step)) = row{flow: r.Flow, level: r.Level, Set: r.Set}
			}
		}
		l.apps[st.App] = a
	}
	for _, f := range s.Forwarders {
		l.forwarders[f.ID] = &forwarder{id: f.ID, cluster: f.Cluster, heard: f.Heard, known: map[Epoch]bool{}}
	}
	for _, sp := range s.Spools {
		l.spools[store.ID(sp.ID)] = &sp.spool
	}
	for i := range s.Processes {
		st := &s.Processes[i]
		a := l.apps[st.App]
		if a == nil || l.processes[st.Epoch] != nil || !st.Here.valid() || st.State > Died || len(st.Here) > 0 && st.Here[0].First <= st.Base.Batched ||
			!tallied(true, st.Counters.Dropped, st.Base.Dropped, st.Entered.Dropped, st.Entered.Found) {
			return bad("a process")
		}
		p := &process{
			epoch: st.Epoch, app: a, proxyID: st.ProxyID, started: st.Started, heard: st.Heard, reported: st.Reported, newest: st.Newest,
			counters: st.Counters, base: st.Base, slides: st.Slides, here: st.Here, beyond: st.Beyond, closed: st.Closed, lost: st.Lost,
			views: st.Views, state: st.State, ended: st.Ended, checked: st.Checked, settled: st.Settled, check: st.Check,
			entered: st.Entered, pending: st.Pending,
		}
		for _, r := range p.lost {
			if int(r.Drop) >= len(l.drops.list) || !tallied(false, r.Filtered) || !tallied(true, r.Dropped) {
				return bad("a loss")
			}
			l.lostBatches += len(r.Pairs)
		}
		for _, v := range p.views {
			if f := l.forwarders[v.Forwarder]; f != nil {
				f.known[p.epoch] = true
			}
		}
		l.processes[p.epoch] = p
		if p.check.Mark > 0 {
			l.checking[p] = true
		}
	}
	l.gaps.nextID, l.gaps.forgotten = s.NextGap, s.GapsForgotten
	for _, g := range s.Gaps {
		if g == nil || int(g.Drop) >= len(l.drops.list) || g.ID >= s.NextGap || l.gaps.byID[g.ID] != nil {
			return bad("a gap")
		}
		l.gaps.put(g)
	}
	for _, at := range s.Damaged[:min(len(s.Damaged), maxDamaged)] {
		l.damaged[at] = true
	}
	l.folded, l.foldedCount, l.deaths, l.deathsForgotten = s.Folded, s.FoldedCount, s.Deaths, s.DeathsForgotten
	for _, e := range l.folded {
		l.foldedSet[e] = true
	}
	if len(l.foldedSet) != len(l.folded) || uint64(len(l.folded)) > l.foldedCount {
		return bad("what is folded")
	}
	now := l.opt.Now().UnixNano()
	for _, p := range l.processes {
		// No forwarder is connected yet: who was alive may not be any more.
		l.judge(p, now)
	}
	l.dirty = false
	return nil
}

func adoptWords[T comparable](w *words[T], list []T) error {
	if len(list) == 0 || list[0] != w.list[0] || len(list) > w.most {
		return errors.New("its words do not fit")
	}
	for i, v := range list[1:] {
		if w.number(v) != uint16(i+1) {
			return errors.New("a word is there twice")
		}
	}
	return nil
}
