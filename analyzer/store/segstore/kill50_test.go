package segstore_test

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/storetest"
)

// Kills at random, and after how many a store begins anew: one that has grown
// is looked through for longer than it is written to.
const (
	randomKills = 50
	killsOfOne  = 10
)

// killed is a store that is killed again and again.
type killed struct {
	dir string
	// retains: old segments are removed all the time.
	retains bool
	acked   uint64 // frames
	// damaged counts files that were spoiled, removed is how many of the oldest
	// pairs are gone.
	damaged int
	removed uint64
}

func (k *killed) env() []string {
	env := []string{childDir + "=" + k.dir}
	if k.retains {
		env = append(env, childRetains+"=1")
	}
	return env
}

// TestR14KillAtRandom kills the store with SIGKILL at random moments: while it
// takes frames and ends segments, while retention removes them, and while what
// is beside the log is made again, which was missing or damaged before. What
// was acknowledged is there, once; and everything that is asked is answered as
// it is when all that stands beside the log is made anew.
func TestR14KillAtRandom(t *testing.T) {
	program := failing(t)
	rng := rand.New(rand.NewPCG(50, 14))
	var stores [2]*killed
	done := map[string]int{}
	for round := range randomKills {
		if round%killsOfOne == 0 {
			for _, k := range stores {
				if k != nil {
					k.sameWhenMadeAnew(t)
				}
			}
			stores = [2]*killed{{dir: t.TempDir()}, {dir: t.TempDir(), retains: true}}
		}
		k := stores[0]
		after := time.Duration(20+rng.IntN(200)) * time.Millisecond
		kind := []string{"ingest and sealing", "rebuild", "retention", "damage beside the log", "retention and rebuild"}[round%5]
		switch kind {
		case "retention":
			k = stores[1]
		case "retention and rebuild":
			k = stores[1]
			k.forgetIndex(t)
		case "rebuild":
			k.forgetIndex(t)
		case "damage beside the log":
			k.damageSidecars(t, rng)
		}
		done[kind]++
		k.acked = max(k.acked, runChild(t, program, "", after, k.env()...))
		k.check(t, fmt.Sprintf("round %d, %s, killed after %v", round, kind, after))
		if t.Failed() {
			return
		}
	}
	for _, k := range stores {
		k.sameWhenMadeAnew(t)
	}
	keeps, retains := stores[0], stores[1]
	t.Logf("killed %v; of the last two stores %d and %d frames were acknowledged, %d files damaged, %d pairs removed",
		done, keeps.acked, retains.acked, keeps.damaged, retains.removed)
	if keeps.acked == 0 || retains.acked == 0 || keeps.damaged == 0 || retains.removed == 0 {
		t.Error("something did not come to pass: the test did not test it")
	}
}

// check opens the store, which keeps everything meanwhile, and holds it to the
// law.
func (k *killed) check(t *testing.T, round string) {
	t.Helper()
	s := start(t, killOptions(k.dir, testLog(t)))
	defer s.close(t)
	if err := sameAsLog(t, s); err != nil {
		t.Errorf("%s: %v", round, err)
	}
	list := storetest.All(t, s, store.List{})
	if !k.retains {
		if err := upTo(list, k.acked*killPairs); err != nil {
			t.Errorf("%s: %v", round, err)
		}
		return
	}
	// What is left is the newest, each pair once and without a hole.
	got := storetest.Numbers(list)
	slices.Sort(got)
	if k.acked == 0 {
		return
	}
	if len(got) > 0 {
		k.removed = got[0]
	}
	if n := len(got); n == 0 || got[n-1] < k.acked*killPairs-1 || got[n-1]-got[0] != uint64(n-1) {
		t.Errorf("%s: %d frames of %d pairs acknowledged; left are %v", round, k.acked, killPairs, got)
	}
}

// answers are to everything that people ask.
func answers(t *testing.T, s *running) map[string]any {
	t.Helper()
	all := map[string]any{}
	put := func(what string, v any, err error) {
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		all[what] = v
	}
	all["list"] = storetest.Numbers(storetest.All(t, s, store.List{}))
	b, err := s.Histogram(t.Context(), store.Histogram{Buckets: 20})
	put("histogram", b, err)
	f, err := s.Facets(t.Context(), store.Facets{Fields: store.FacetFields(), Limit: 1000})
	put("facets", f, err)
	e, err := s.Endpoints(t.Context(), store.Endpoints{})
	put("endpoints", e, err)
	g, err := s.Edges(t.Context(), store.Edges{})
	put("edges", g, err)
	return all
}

func (k *killed) sameWhenMadeAnew(t *testing.T) {
	t.Helper()
	ask := func() map[string]any {
		s := start(t, killOptions(k.dir, testLog(t)))
		defer s.close(t)
		return answers(t, s)
	}
	before := ask()
	k.forgetIndex(t)
	after := ask()
	for what, v := range before {
		if !reflect.DeepEqual(after[what], v) {
			t.Errorf("%s: made anew it is\n%+v, before it was\n%+v", what, after[what], v)
		}
	}
}

// forgetIndex removes everything that is beside the log.
func (k *killed) forgetIndex(t *testing.T) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(k.dir, "index")); err != nil {
		t.Fatal(err)
	}
	for _, path := range k.sidecars(t) {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// damageSidecars spoils some of the files beside sealed segments: one loses a
// part of itself, one has a bit turned, one is empty, one is gone.
func (k *killed) damageSidecars(t *testing.T, rng *rand.Rand) {
	t.Helper()
	files := k.sidecars(t)
	rng.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
	for i, path := range files[:min(4, len(files))] {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		k.damaged++
		switch {
		case i == 0:
			err = os.Remove(path)
		case i == 1 || len(b) == 0:
			err = os.WriteFile(path, nil, 0o600)
		case i == 2:
			err = os.WriteFile(path, b[:rng.IntN(len(b))], 0o600)
		default:
			b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
			err = os.WriteFile(path, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (k *killed) sidecars(t *testing.T) (files []string) {
	t.Helper()
	err := filepath.WalkDir(k.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".idx") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
