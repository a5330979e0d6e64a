package ledger

import (
	"maps"
	"testing"

	"pgregory.net/rapid"
)

// TestAccountHoldsWhateverHappens: pairs are seen, sampled, batched, filtered,
// dropped, delivered twice and out of order, declared lost and reclaimed;
// proxies stop and die, forwarders come and go, spools lose stretches, the
// analyzer is killed again and again, and records that it had are damaged and
// come once more. After every step each pair is in exactly one count; in the
// end every count is the true one, and it is the same for an analyzer that was
// never killed.
func TestAccountHoldsWhateverHappens(t *testing.T) {
	dir, other := memDir(t), memDir(t)
	rapid.Check(t, func(t *rapid.T) {
		for _, d := range []interface{ Remove(string) error }{dir, other} {
			_ = d.Remove(FileName) // of the run before; there may be none
		}
		w := newWorld(2)
		steady := w.open(t, other, Options{})
		l := w.open(t, dir, Options{})
		fed := 0
		feed := func() {
			for ; fed < len(w.log); fed++ {
				l.Commit(w.log[fed])
				steady.Commit(w.log[fed])
			}
		}
		observe := func() {
			l.Observe(w.observed())
			steady.Observe(w.observed())
		}
		w.proxy("a")
		w.proxy("b")
		damaged := false
		pick := func() *simProxy { return w.proxies[rapid.IntRange(0, len(w.proxies)-1).Draw(t, "proxy")] }
		small := func(name string) int { return rapid.IntRange(0, 4).Draw(t, name) }
		alive := func(p *simProxy) bool { return !p.dead && !p.stopped }
		t.Repeat(map[string]func(*rapid.T){
			"see": func(*rapid.T) {
				if p := pick(); alive(p) {
					n := uint64(small("pairs"))
					p.open += n
					p.c.Seen += n
				}
			},
			"shed": func(*rapid.T) {
				if p := pick(); alive(p) && p.open > 0 {
					p.open--
					if p.c.Dropped == nil {
						p.c.Dropped = map[string]uint64{}
					}
					p.c.Dropped["memory"]++
				}
			},
			"sample": func(*rapid.T) {
				if p := pick(); alive(p) && p.open > 0 {
					p.open--
					p.c.Sampled++
				}
			},
			"cut": func(*rapid.T) {
				if p := pick(); alive(p) && p.open > 0 {
					w.cut(p, uint64(rapid.IntRange(1, int(p.open)).Draw(t, "n")))
				}
			},
			"take": func(*rapid.T) {
				w.take(pick(), uint32(small("filtered")), uint32(small("faulty")), rapid.Bool().Draw(t, "acked"))
			},
			"move": func(*rapid.T) {
				if p := pick(); alive(p) {
					p.forward = rapid.IntRange(0, 1).Draw(t, "to")
				}
			},
			"refuse":   func(*rapid.T) { w.fwds[rapid.IntRange(0, 1).Draw(t, "f")].refuse() },
			"condense": func(*rapid.T) { w.fwds[rapid.IntRange(0, 1).Draw(t, "f")].condense(small("n")) },
			"damage": func(*rapid.T) {
				f := w.fwds[rapid.IntRange(0, 1).Draw(t, "f")]
				if i := small("record"); i < len(f.records) && !f.records[i].safe && f.records[i].head.GetBatchSeq() > 0 && rapid.IntRange(0, 9).Draw(t, "luck") == 0 {
					f.records[i].gone = true
					damaged = true
				}
			},
			"rot": func(*rapid.T) {
				readable := rapid.Bool().Draw(t, "readable")
				d, ok := w.rot(small("commit"), readable)
				if !ok {
					return
				}
				if readable {
					steady.Damaged(d.at, d.head)
				}
				l = w.open(t, dir, Options{})
				fed = len(w.log)
			},
			"export": func(*rapid.T) {
				w.export(w.fwds[rapid.IntRange(0, 1).Draw(t, "f")], small("record"))
				feed()
			},
			"carry": func(*rapid.T) {
				if p := pick(); alive(p) {
					n := uint64(1 + small("pairs"))
					w.see(p, n)
					w.cut(p, n)
					w.take(p, uint32(small("filtered")), 0, true)
					f := w.fwds[p.forward]
					w.export(f, len(f.records)-1)
					feed()
				}
			},
			"beat":    func(*rapid.T) { w.beat(pick()) },
			"report":  func(*rapid.T) { w.report(rapid.IntRange(0, 1).Draw(t, "f")); observe() },
			"connect": func(*rapid.T) { f := w.fwds[1]; f.connected = !f.connected; observe() },
			"time":    func(*rapid.T) { w.now += rapid.Int64Range(0, 100).Draw(t, "s") * second },
			"begin": func(*rapid.T) {
				if len(w.proxies) < 6 {
					w.proxy([]string{"a", "b"}[small("app")%2])
				}
			},
			"die": func(*rapid.T) {
				if p := pick(); len(p.heardBy) > 0 && small("luck") == 0 {
					p.dead = true
				}
			},
			"reap": func(*rapid.T) {
				if p := pick(); p.dead {
					p.reaped = true
				}
			},
			"stop": func(*rapid.T) {
				if p := pick(); alive(p) && len(p.heardBy) > 0 && p.open == 0 && small("luck") == 0 {
					w.beat(p)
					p.stopped = true
				}
			},
			"save": func(*rapid.T) {
				if err := l.Save(); err != nil {
					t.Fatal(err)
				}
			},
			"kill": func(*rapid.T) { l = w.open(t, dir, Options{}) },
			"":     func(t *rapid.T) { holds(t, l); holds(t, steady) },
		})
		// Everything that can arrive does.
		for _, f := range w.fwds {
			f.connected = true
		}
		for _, p := range w.proxies {
			p.forward = 0
			if alive(p) {
				for len(p.unsent) > 0 {
					w.take(p, 0, 0, true)
				}
				w.beat(p)
			}
			p.reaped = p.dead
		}
		for _, f := range w.fwds {
			for len(f.records) > 0 {
				w.export(f, 0)
			}
			f.exported = f.next
		}
		feed()
		for range 8 {
			w.now += 30 * second
			w.report(0)
			w.report(1)
			observe()
		}
		holds(t, l)
		holds(t, steady)
		got, want := l.Report(Ask{}), steady.Report(Ask{})
		for i, a := range want.Apps {
			if g := got.Apps[i].Counts; !same(g, a.Counts) {
				t.Fatalf("%v: after kills %+v, without %+v", a.App, g, a.Counts)
			}
		}
		truth(t, w, got, damaged)
	})
}

func same(a, b Counts) bool {
	return a.Seen == b.Seen && a.Stored == b.Stored && a.Sampled == b.Sampled && a.InFlight == b.InFlight &&
		a.Unknown == b.Unknown && a.Unaccounted == b.Unaccounted && maps.Equal(a.Filtered, b.Filtered) && maps.Equal(a.Dropped, b.Dropped)
}

// truth compares with what is known of each pair.
func truth(t *rapid.T, w *world, r Report, damaged bool) {
	for _, a := range r.Apps {
		var seen, flight, sampled, memory uint64
		exact := true
		for _, p := range w.proxies {
			if p.src.GetApp() != a.App.App {
				continue
			}
			if p.dead {
				exact = false // what it counted after its last report nobody knows
				continue
			}
			seen += p.c.Seen
			flight += p.open
			sampled += p.c.Sampled
			memory += p.c.Dropped["memory"]
			if p.stopped {
				flight -= p.open
			}
		}
		if a.Unaccounted > 0 {
			t.Fatalf("%v: %+v", a.App, a.Counts)
		}
		if !exact {
			continue
		}
		if a.Seen != seen || a.Sampled != sampled || a.Dropped[Drop{HopProxy, "memory"}] != memory || a.Unknown != 0 || a.InFlight != flight {
			t.Fatalf("%v: %+v, want %d seen, %d sampled, %d dropped for memory, %d open", a.App, a.Counts, seen, sampled, memory, flight)
		}
		if n := a.Dropped[Drop{HopForwarder, ReasonSpoolDamaged}]; n > 0 && !damaged {
			t.Fatalf("%v: %d pairs put down to damage that there was not", a.App, n)
		}
	}
}
