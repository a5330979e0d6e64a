package ledger

import (
	"maps"
	"slices"
)

// others is the name of what goes beyond a bound.
const others = "(others)"

// Bounds on names. Rules and reasons are few by nature; apps are the users'.
const (
	maxRules = 1000
	maxDrops = 256
	maxApps  = 1000
)

// words numbers names, so that a sum holds numbers. Names beyond most share
// the number of spill, which is 0.
type words[T comparable] struct {
	list []T
	at   map[T]uint16
	most int
}

func newWords[T comparable](spill T, most int) *words[T] {
	return &words[T]{list: []T{spill}, at: map[T]uint16{spill: 0}, most: most}
}

func (w *words[T]) number(v T) uint16 {
	n, ok := w.at[v]
	if !ok && len(w.list) < w.most {
		n = uint16(len(w.list))
		w.list = append(w.list, v)
		w.at[v] = n
	}
	return n
}

// tally counts by number. What it does not have is 0.
type tally []part

type part struct {
	Key uint16 `json:"k"`
	N   int64  `json:"n"`
}

func (t *tally) add(key uint16, n int64) {
	if n == 0 {
		return
	}
	for i := range *t {
		if (*t)[i].Key == key {
			(*t)[i].N += n
			return
		}
	}
	*t = append(*t, part{key, n})
}

func (t tally) get(key uint16) int64 {
	for _, p := range t {
		if p.Key == key {
			return p.N
		}
	}
	return 0
}

func (t tally) total() (n int64) {
	for _, p := range t {
		n += p.N
	}
	return n
}

// flow is what only ever happened: how many pairs came to be, and to which
// end. It may be a difference, and then less than 0.
type flow struct {
	Seen     int64 `json:"e,omitempty"`
	Stored   int64 `json:"s,omitempty"`
	Sampled  int64 `json:"a,omitempty"`
	Filtered tally `json:"f,omitempty"`
	Dropped  tally `json:"d,omitempty"`
}

// add adds o, times sign.
func (f *flow) add(o *flow, sign int64) {
	f.Seen += sign * o.Seen
	f.Stored += sign * o.Stored
	f.Sampled += sign * o.Sampled
	for _, p := range o.Filtered {
		f.Filtered.add(p.Key, sign*p.N)
	}
	for _, p := range o.Dropped {
		f.Dropped.add(p.Key, sign*p.N)
	}
}

func (f *flow) clone() flow {
	c := *f
	c.Filtered, c.Dropped = slices.Clone(f.Filtered), slices.Clone(f.Dropped)
	return c
}

// ended is how many pairs have come to an end.
func (f *flow) ended() int64 {
	return f.Stored + f.Sampled + f.Filtered.total() + f.Dropped.total()
}

func (f *flow) zero() bool {
	if f.Seen != 0 || f.Stored != 0 || f.Sampled != 0 {
		return false
	}
	for _, t := range [...]tally{f.Filtered, f.Dropped} {
		for _, p := range t {
			if p.N != 0 {
				return false
			}
		}
	}
	return true
}

// level is where pairs are that have come to no end.
type level struct {
	InFlight    int64 `json:"i,omitempty"`
	Unknown     int64 `json:"u,omitempty"`
	Unaccounted int64 `json:"x,omitempty"`
}

func (l *level) add(o level, sign int64) {
	l.InFlight += sign * o.InFlight
	l.Unknown += sign * o.Unknown
	l.Unaccounted += sign * o.Unaccounted
}

// names are what the numbers of tallies stand for.
type names struct {
	rules []string
	drops []Drop
}

// names of all numbers up to now. They stay as they are.
func (l *Ledger) names() names { return names{l.rules.list, l.drops.list} }

// counts puts numbers into words.
func (w names) counts(f *flow, v level) Counts {
	c := Counts{
		Seen: positive(f.Seen), Stored: positive(f.Stored), Sampled: positive(f.Sampled),
		Filtered: map[string]uint64{}, Dropped: map[Drop]uint64{},
		InFlight: positive(v.InFlight), Unknown: positive(v.Unknown), Unaccounted: positive(v.Unaccounted),
	}
	for _, p := range f.Filtered {
		if p.N > 0 {
			c.Filtered[w.rules[p.Key]] += uint64(p.N)
		}
	}
	for _, p := range f.Dropped {
		if p.N > 0 {
			c.Dropped[w.drops[p.Key]] += uint64(p.N)
		}
	}
	return c
}

// sum is how many pairs are in any count; as many as were seen.
func (c *Counts) sum() uint64 {
	n := c.Stored + c.Sampled + c.InFlight + c.Unknown + c.Unaccounted
	for _, v := range c.Filtered {
		n += v
	}
	for _, v := range c.Dropped {
		n += v
	}
	return n
}

// Holds: every pair that was seen is in one count, and that says where it is.
func (c *Counts) Holds() bool { return c.Unaccounted == 0 && c.sum() == c.Seen }

func positive(n int64) uint64 { return uint64(max(n, 0)) }

// Add adds sums of apps.
func (c *Counts) Add(o Counts) {
	c.Seen += o.Seen
	c.Stored += o.Stored
	c.Sampled += o.Sampled
	c.InFlight += o.InFlight
	c.Unknown += o.Unknown
	c.Unaccounted += o.Unaccounted
	if c.Filtered == nil {
		c.Filtered, c.Dropped = map[string]uint64{}, map[Drop]uint64{}
	}
	addAll(c.Filtered, o.Filtered)
	addAll(c.Dropped, o.Dropped)
}

func addAll[K comparable](to, from map[K]uint64) {
	for k, n := range maps.All(from) {
		to[k] += n
	}
}

// app is one app's account.
type app struct {
	key App
	flow
	level
	// folded is the part of level that is of processes which are not told
	// apart any more.
	folded level
	series series
}

// least bounds what is to be taken back by what there is.
func (a *app) least(f *flow) {
	f.Stored = min(f.Stored, max(a.Stored, 0))
	for i := range f.Filtered {
		p := &f.Filtered[i]
		p.N = min(p.N, max(a.Filtered.get(p.Key), 0))
	}
	for i := range f.Dropped {
		p := &f.Dropped[i]
		p.N = min(p.N, max(a.Dropped.get(p.Key), 0))
	}
}

// stand notes how things stand now.
func (a *app) stand(now int64) {
	if r := a.series.at(now, now); r != nil {
		r.level, r.Set = a.level, now
	}
}
