package ledger

import (
	"slices"
	"time"
)

const (
	// maxGaps and maxDeaths bound what is remembered one by one; the newest
	// stay.
	maxGaps   = 10_000
	maxDeaths = 1_000
	// together is how far two losses may lie apart in time and still be one
	// stretch.
	together = int64(5 * time.Second)
)

// stretch is a gap that was counted when it happened. Those that follow from
// how a process stands are made when they are asked for.
type stretch struct {
	ID      uint64 `json:"id"`
	From    int64  `json:"from"`
	To      int64  `json:"to"`
	App     App    `json:"app"`
	ProxyID string `json:"proxy"`
	Epoch   Epoch  `json:"epoch"`
	Drop    uint16 `json:"drop"`
	Pairs   int64  `json:"pairs"`
	AtMost  bool   `json:"at_most,omitempty"`
}

// gapKey: losses of one process for one reason may be one stretch.
type gapKey struct {
	epoch Epoch
	drop  uint16
}

// gaps is the list, oldest first by when they were learnt of.
type gaps struct {
	list   []*stretch
	byID   map[uint64]*stretch
	newest map[gapKey]*stretch
	nextID uint64
	// forgotten counts those that went for want of room.
	forgotten uint64
}

func newGaps() gaps {
	return gaps{byID: map[uint64]*stretch{}, newest: map[gapKey]*stretch{}, nextID: 1}
}

// add counts a loss and says which stretch has it.
func (g *gaps) add(s stretch) uint64 {
	if s.From > s.To {
		s.From = s.To
	}
	k := gapKey{s.Epoch, s.Drop}
	if last := g.newest[k]; last != nil && last.AtMost == s.AtMost && s.From <= last.To+together && last.From <= s.To+together {
		last.From, last.To = min(last.From, s.From), max(last.To, s.To)
		last.Pairs += s.Pairs
		return last.ID
	}
	s.ID = g.nextID
	g.nextID++
	g.put(&s)
	for len(g.list) > maxGaps {
		old := g.list[0]
		g.list = g.list[1:]
		g.drop(old)
		if old.Pairs > 0 {
			g.forgotten++
		}
	}
	return s.ID
}

func (g *gaps) put(s *stretch) {
	g.list = append(g.list, s)
	g.byID[s.ID] = s
	g.newest[gapKey{s.Epoch, s.Drop}] = s
}

func (g *gaps) drop(s *stretch) {
	delete(g.byID, s.ID)
	if k := (gapKey{s.Epoch, s.Drop}); g.newest[k] == s {
		delete(g.newest, k)
	}
}

// take says that n pairs of a stretch are not lost after all.
func (g *gaps) take(id uint64, n int64) {
	s := g.byID[id]
	if s == nil {
		return
	}
	if s.Pairs -= n; s.Pairs <= 0 {
		g.drop(s)
		if i := slices.Index(g.list, s); i >= 0 {
			g.list = slices.Delete(g.list, i, i+1)
		}
	}
}
