package ledger

import (
	"maps"
	"slices"
	"time"
)

// tier is how finely time is kept, and for how long.
type tier struct{ step, keep int64 }

// tiers, finest first. One app has at most 24*60 + 7*24*6 + 90*24 rows.
var tiers = [...]tier{
	{int64(time.Minute), int64(24 * time.Hour)},
	{int64(10 * time.Minute), int64(7 * 24 * time.Hour)},
	{int64(time.Hour), int64(90 * 24 * time.Hour)},
}

// maxRows bounds the rows of all apps. Beyond it the oldest go; the sums keep
// what was in them.
const maxRows = 250_000

// row is what changed in one step.
type row struct {
	flow
	// level is how things stood at Set, Unix nanoseconds; 0: nobody looked in
	// this step.
	level
	Set int64
	// lent is the series' when the row was made.
	lent uint64
}

// series is an app's account over time: rows by where their step begins. There
// are many of them, so that readers are lent the rows as they stand; what was
// lent is copied before it changes.
type series struct {
	rows [len(tiers)]map[int64]*row
	// lent counts the times that rows were lent; a map or a row is this
	// series' own when it was made since the last of them.
	lent uint64
	made [len(tiers)]uint64
}

// lend gives the rows as they stand, to read only, without any lock.
func (s *series) lend() series {
	s.lent++
	return *s
}

// own is the map of a tier, to change.
func (s *series) own(i int) map[int64]*row {
	if s.rows[i] == nil {
		s.rows[i] = map[int64]*row{}
	} else if s.made[i] != s.lent {
		s.rows[i] = maps.Clone(s.rows[i])
	}
	s.made[i] = s.lent
	return s.rows[i]
}

func floor(t, step int64) int64 {
	f := t / step * step
	if f > t {
		f -= step
	}
	return f
}

// at is the row for a moment as seen from now, to change; nil when that is too long ago.
func (s *series) at(t, now int64) *row {
	for i, tier := range tiers {
		if floor(t, tier.step) > now-tier.keep {
			return s.row(i, floor(t, tier.step))
		}
	}
	return nil
}

func (s *series) row(i int, at int64) *row {
	rows := s.own(i)
	r := rows[at]
	switch {
	case r == nil:
		r = &row{lent: s.lent}
		rows[at] = r
	case r.lent != s.lent:
		r = &row{flow: r.flow.clone(), level: r.level, Set: r.Set, lent: s.lent}
		rows[at] = r
	}
	return r
}

func (r *row) merge(o *row) {
	r.flow.add(&o.flow, 1)
	if o.Set > r.Set {
		r.level, r.Set = o.level, o.Set
	}
}

// age moves rows that are too old for their tier to the next one.
func (s *series) age(now int64) {
	for i, tier := range tiers {
		for at, r := range s.rows[i] {
			if at > now-tier.keep {
				continue
			}
			delete(s.own(i), at)
			if i+1 < len(tiers) {
				s.row(i+1, floor(at, tiers[i+1].step)).merge(r)
			}
		}
	}
}

func (s *series) len() (n int) {
	for _, rows := range s.rows {
		n += len(rows)
	}
	return n
}

// dropBefore removes what began before t.
func (s *series) dropBefore(t int64) {
	for i, rows := range s.rows {
		for at := range rows {
			if at < t {
				delete(s.own(i), at)
			}
		}
	}
}

// finest is the width of the finest step that is kept from a time on.
func finest(from, now int64) int64 {
	for _, t := range tiers {
		if from > now-t.keep {
			return t.step
		}
	}
	return tiers[len(tiers)-1].step
}

// window is the series of [from, to) in steps of step, oldest first. How
// things stood is carried on over steps in which nobody looked.
func (s *series) window(from, to, step int64) (at []int64, rows []*row) {
	merged := map[int64]*row{}
	// before is the newest that is known from before the window.
	var before row
	for _, tier := range s.rows {
		for t, r := range tier {
			t = floor(t, step)
			switch {
			case t >= to:
			case t < floor(from, step):
				if r.Set > before.Set {
					before.level, before.Set = r.level, r.Set
				}
			default:
				if merged[t] == nil {
					merged[t] = &row{}
				}
				merged[t].merge(r)
			}
		}
	}
	for t := range merged {
		at = append(at, t)
	}
	slices.Sort(at)
	level := before.level
	for _, t := range at {
		r := merged[t]
		if r.Set > 0 {
			level = r.level
		}
		r.level = level
		rows = append(rows, r)
	}
	return at, rows
}
