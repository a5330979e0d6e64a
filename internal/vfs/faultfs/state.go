package faultfs

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
)

// state is what stands on the disk, and on its way there.
type state struct {
	names   map[string]*inode // as the process sees it
	durable map[string]*inode
	moves   []event         // of names, not synced yet
	dirs    map[string]bool // durable as soon as they are made
	inodes  map[int]*inode
	ids     int
}

type inode struct {
	id      int
	data    []byte // as the process sees it
	durable []byte
	pending []event // not synced yet
}

// eventKind is a call that worked, or the part of it that did.
type eventKind int

const (
	evPut eventKind = iota
	evCreate
	evWrite
	evTruncate
	evSync
	evSyncFailed
	evRemove
	evRename
	evMkdir
	evSyncDir
)

// event is one change of the state.
type event struct {
	kind eventKind
	name string // a path; for evSyncDir the directory's prefix
	to   string
	id   int // of the inode
	at   int64
	data []byte
}

func newState() state {
	return state{names: map[string]*inode{}, durable: map[string]*inode{}, dirs: map[string]bool{}, inodes: map[int]*inode{}}
}

func (s *state) newID() int {
	s.ids++
	return s.ids
}

func (s *state) apply(e event) {
	f := s.inodes[e.id]
	switch e.kind {
	case evPut:
		f = &inode{id: e.id, data: bytes.Clone(e.data), durable: bytes.Clone(e.data)}
		s.inodes[e.id], s.names[e.name], s.durable[e.name] = f, f, f
		s.ids = max(s.ids, e.id)
	case evCreate:
		f = &inode{id: e.id}
		s.inodes[e.id] = f
		s.ids = max(s.ids, e.id)
		move(s.names, s.inodes, e)
		s.moves = append(s.moves, e)
	case evRename:
		e.id = s.names[e.name].id // it is this file's move, whatever becomes of others
		move(s.names, s.inodes, e)
		s.moves = append(s.moves, e)
	case evRemove:
		move(s.names, s.inodes, e)
		s.moves = append(s.moves, e)
	case evMkdir:
		s.dirs[e.name] = true
	case evSyncDir:
		s.moves = slices.DeleteFunc(s.moves, func(m event) bool {
			in := inDir(m.name, e.name)
			if in {
				move(s.durable, s.inodes, m)
			}
			return in
		})
	case evWrite, evTruncate:
		f.data = change(f.data, e)
		f.pending = append(f.pending, e)
	case evSync:
		for _, p := range f.pending {
			f.durable = change(f.durable, p)
		}
		f.pending = nil
	case evSyncFailed:
		f.pending = nil
	}
}

// move does one change of a name.
func move(names map[string]*inode, inodes map[int]*inode, e event) {
	switch e.kind {
	case evCreate:
		names[e.name] = inodes[e.id]
	case evRemove:
		delete(names, e.name)
	case evRename:
		delete(names, e.name)
		names[e.to] = inodes[e.id]
	}
}

func inDir(name, prefix string) bool {
	rest, ok := strings.CutPrefix(name, prefix)
	return ok && !strings.Contains(rest, "/")
}

func change(b []byte, e event) []byte {
	if e.kind == evTruncate {
		return resize(b, e.at)
	}
	return write(b, e.data, e.at)
}

func resize(b []byte, n int64) []byte {
	if int64(len(b)) >= n {
		return b[:n:n]
	}
	return append(b[:len(b):len(b)], make([]byte, n-int64(len(b)))...)
}

func write(b, data []byte, at int64) []byte {
	if end := at + int64(len(data)); int64(len(b)) < end {
		b = resize(b, end)
	}
	copy(b[at:], data)
	return b
}

// killed is the state as another process finds it.
func (s *state) killed() state {
	c := state{
		names: map[string]*inode{}, durable: map[string]*inode{}, moves: slices.Clone(s.moves),
		dirs: maps.Clone(s.dirs), inodes: map[int]*inode{}, ids: s.ids,
	}
	for id, f := range s.inodes {
		c.inodes[id] = &inode{id: id, data: bytes.Clone(f.data), durable: bytes.Clone(f.durable), pending: slices.Clone(f.pending)}
	}
	for name, f := range s.names {
		c.names[name] = c.inodes[f.id]
	}
	for name, f := range s.durable {
		c.durable[name] = c.inodes[f.id]
	}
	return c
}

// crashed is the state after the power was lost; see FS.Crash.
func (s *state) crashed(rng *rand.Rand) state {
	c := newState()
	c.dirs = maps.Clone(s.dirs)
	survivors := maps.Clone(s.durable)
	sector := int64(512)
	if rng != nil {
		if rng.IntN(2) == 0 {
			sector = 4 << 10
		}
		for _, m := range s.moves { // each as a whole
			if rng.IntN(2) == 0 {
				move(survivors, s.inodes, m)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(survivors)) {
		f := survivors[name]
		b := bytes.Clone(f.durable)
		if rng != nil {
			for _, p := range f.pending {
				b = tear(b, p, sector, rng)
			}
		}
		c.apply(event{kind: evPut, name: name, id: c.newID(), data: b})
	}
	return c
}

// tear does what of a change reached the disk, sector by sector.
func tear(b []byte, e event, sector int64, rng *rand.Rand) []byte {
	if e.kind == evTruncate {
		if rng.IntN(2) == 0 {
			return resize(b, e.at)
		}
		return b
	}
	for at := e.at; at < e.at+int64(len(e.data)); {
		end := min((at/sector+1)*sector, e.at+int64(len(e.data)))
		switch rng.IntN(3) {
		case 0: // reached the disk
			b = write(b, e.data[at-e.at:end-e.at], at)
		case 1: // only the length did
			b = resize(b, max(int64(len(b)), end))
		}
		at = end
	}
	return b
}
