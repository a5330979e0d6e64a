package ledger

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"time"

	httpv1 "github.com/weir-capture/weir/api/http/v1"
)

// Account is the outcome of a long run: what its clients did, what the store
// has of it, and what the analyzer says of the rest.
type Account struct {
	// Generated requests were sent; Completed of them were answered as they
	// should be, Failed were not, Aborted were broken off by their client.
	Generated, Completed, Failed, Aborted uint64
	// Stored are requests that the store has, once or more often.
	Stored uint64
	// Missing are completed requests that the store does not have. Lost are
	// those of them that nobody declared.
	Missing, Lost uint64
	// Removed by retention, see Rules.
	Removed uint64
	// MissingAt is when each missing request was sent, Unix nanoseconds,
	// ascending.
	MissingAt []int64
	// Twice are stored more often than once, Phantom without anybody having
	// asked, Corrupt with something that differs, Mispaired with the response
	// to another.
	Twice, Phantom, Corrupt, Mispaired uint64
	// Wrong is what else does not fit together, such as a ledger whose sum
	// does not hold.
	Wrong []string
	// Findings are the first sentences about any of these.
	Findings []string
	// Ledger is what the analyzer says.
	Ledger *httpv1.Ledger
}

// maxFindings bounds what is said of single requests.
const maxFindings = 20

// OK tells whether nothing was found. Failed requests are for the test to
// judge: it knows whether it was in their way itself.
func (a *Account) OK() bool {
	return a.Lost+a.Twice+a.Phantom+a.Corrupt+a.Mispaired == 0 && len(a.Wrong) == 0
}

// Dropped is what the ledger declares, by "hop/reason".
func (a *Account) Dropped() map[string]uint64 {
	m := map[string]uint64{}
	for _, d := range a.Ledger.Total.Dropped {
		m[d.Hop+"/"+d.Reason] += d.Pairs
	}
	return m
}

// Filtered is what the ledger declares as filtered, by any rule.
func (a *Account) Filtered() uint64 { return sum(maps.Values(a.Ledger.Total.Filtered)) }

// Declared is all that the ledger says is not stored for a stated reason, and
// that it knows the number of.
func (a *Account) Declared() uint64 {
	return a.Filtered() + a.Ledger.Total.Sampled + sum(maps.Values(a.Dropped()))
}

func sum(seq func(func(uint64) bool)) (n uint64) {
	for v := range seq {
		n += v
	}
	return n
}

// String is one line of counts and the findings below it.
func (a *Account) String() string {
	t := a.Ledger.Total
	var b strings.Builder
	fmt.Fprintf(&b, "%d generated: %d completed, %d failed, %d aborted; %d stored, %d missing: %d lost, %d twice, %d phantom, %d corrupt, %d mispaired; ledger: seen %d = stored %d + filtered %v + sampled %d + dropped %v + in flight %d + unknown %d + unaccounted %d",
		a.Generated, a.Completed, a.Failed, a.Aborted, a.Stored, a.Missing, a.Lost, a.Twice, a.Phantom, a.Corrupt, a.Mispaired,
		t.Seen, t.Stored, t.Filtered, t.Sampled, a.Dropped(), t.InFlight, t.Unknown, t.Unaccounted)
	for _, w := range a.Wrong {
		fmt.Fprintf(&b, "\n  wrong: %s", w)
	}
	for _, f := range a.Findings {
		fmt.Fprintf(&b, "\n  %s", f)
	}
	return b.String()
}

// Ledger asks what became of everything that was seen; the values are the
// query's parameters, and may be nil.
func (a *Analyzer) Ledger(ctx context.Context, v url.Values) (*httpv1.Ledger, error) {
	b, err := a.Get(ctx, "/api/v1/ledger?"+v.Encode())
	if err != nil {
		return nil, err
	}
	var l httpv1.Ledger
	if err := json.Unmarshal(b, &l); err != nil {
		return nil, fmt.Errorf("decode ledger: %w", err)
	}
	return &l, nil
}

// Classes asks how many pairs there are by status class: none, 1xx to 5xx.
func (a *Analyzer) Classes(ctx context.Context, query string) (n [6]uint64, err error) {
	v := url.Values{"buckets": {"60"}}
	if query != "" {
		v.Set("q", query)
	}
	b, err := a.Get(ctx, "/api/v1/stats/histogram?"+v.Encode())
	if err != nil {
		return n, err
	}
	var h httpv1.Histogram
	if err := json.Unmarshal(b, &h); err != nil {
		return n, fmt.Errorf("decode histogram: %w", err)
	}
	if h.Partial {
		return n, errors.New("histogram is partial")
	}
	for _, bucket := range h.Buckets {
		c := bucket.Counts
		for i, v := range [...]uint64{c.None, c.C1xx, c.C2xx, c.C3xx, c.C4xx, c.C5xx} {
			n[i] += v
		}
	}
	return n, nil
}

// Walk reads every page of a list, large ones, without holding it. A list
// that is not newest first, or partial, is an error.
func (a *Analyzer) Walk(ctx context.Context, query string, row func(Row) error) error {
	cursor := ""
	var last time.Time
	for {
		p, err := a.Page(ctx, query, cursor, httpv1.MaxLimit)
		if err != nil {
			return err
		}
		if p.Partial {
			return errors.New("list is partial")
		}
		for _, r := range p.Pairs {
			if !last.IsZero() && r.Time.After(last) {
				return fmt.Errorf("list is not newest first: pair %s of %v comes after one of %v", r.ID, r.Time, last)
			}
			last = r.Time
			if err := row(r); err != nil {
				return err
			}
		}
		if p.Next == "" {
			return nil
		}
		if len(p.Pairs) == 0 || p.Next == cursor {
			return errors.New("list does not end: a page without pairs names a next one")
		}
		cursor = p.Next
	}
}

// Rules say what an account has to be like.
type Rules struct {
	// Killed: a proxy was killed, so that what it had seen after its last
	// report nobody knows. What is missing beyond what was declared is not
	// lost then but for the test to judge by MissingAt and the ledger's deaths.
	Killed bool
	// Whole is how many stored pairs, chosen at random, are read with their
	// bodies (default 100).
	Whole int
	// NoLedger: the analyzer is one that keeps none. Every missing request is
	// lost then.
	NoLedger bool
	// Retention removes what is oldest. What is missing is Removed then, if it
	// is older than all that is there.
	Retention bool
	// App is the proxies' APP_LABEL where the stack serves more than one.
	App string
}

// flags that say that a body was cut, which is no difference.
var cut = []string{"truncated", "body_shed"}

// Account compares. It is to be called once nothing moves any more.
func (b *Book) Account(ctx context.Context, api *Analyzer, rules Rules) (*Account, error) {
	a := &Account{}
	var err error
	v := url.Values{}
	query := ""
	if rules.App != "" {
		v.Set("app", rules.App)
		query = "app:" + rules.App
	}
	if rules.NoLedger {
		a.Ledger = &httpv1.Ledger{}
	} else if a.Ledger, err = api.Ledger(ctx, v); err != nil {
		return nil, fmt.Errorf("read ledger: %w", err)
	}
	entries := b.Entries()
	at := make(map[[16]byte]int, len(entries))
	for i, e := range entries {
		at[e.ID] = i
	}
	found := func(n *uint64, format string, args ...any) {
		*n++
		if len(a.Findings) < maxFindings {
			a.Findings = append(a.Findings, fmt.Sprintf(format, args...))
		}
	}

	times := make([]uint16, len(entries))
	rows, oldest := uint64(0), int64(math.MaxInt64)
	if rules.Whole == 0 {
		rules.Whole = 100
	}
	sample := make([]Row, 0, rules.Whole)
	err = api.Walk(ctx, query, func(r Row) error {
		rows++
		id, ok := parseID(FindID(r.Target()))
		i, known := at[id]
		if !ok || !known {
			found(&a.Phantom, "phantom: pair %s: %s %s, which no client sent", r.ID, r.Method, r.Target())
			return nil
		}
		if times[i]++; times[i] > 1 {
			found(&a.Twice, "twice: %x, now as pair %s", id, r.ID)
			return nil
		}
		a.Stored++
		oldest = min(oldest, entries[i].Sent)
		b.compareRow(found, a, &entries[i], r)
		// Each row has the same chance (reservoir sampling).
		if len(sample) < rules.Whole {
			sample = append(sample, r)
		} else if n := rand.Uint64N(a.Stored); n < uint64(rules.Whole) {
			sample[n] = r
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the store: %w", err)
	}
	for _, r := range sample {
		id, _ := parseID(FindID(r.Target()))
		s, err := api.read(ctx, r)
		if err != nil {
			return nil, fmt.Errorf("read pair %s: %w", r.ID, err)
		}
		compareWhole(found, a, &entries[at[id]], s)
	}

	b.mu.Lock()
	for i, e := range entries {
		switch e.Outcome {
		case Refused:
			continue
		case Failed:
			a.Failed++
		case Aborted:
			a.Aborted++
		case Completed:
			a.Completed++
			if s := b.served[e.ID]; s.Times != 1 || s.Status != e.Status || s.In != e.Out {
				found(&a.Corrupt, "carried wrongly: the server saw %x %d times, status %d for %d, or another body", e.ID, s.Times, s.Status, e.Status)
			}
			if times[i] == 0 {
				a.Missing++
				a.MissingAt = append(a.MissingAt, e.Sent)
			}
		}
		a.Generated++
	}
	b.mu.Unlock()
	slices.Sort(a.MissingAt)
	if rules.Retention {
		a.removed(oldest)
	}
	a.judge(rules, rows)
	return a, nil
}

// overlap is how far the order in which requests were made and that in which
// they were stored differ: a segment that retention removes holds a few that
// were made after others that are kept.
const overlap = 2 * time.Second

// removed sets aside what is missing and older than all that is there.
func (a *Account) removed(oldest int64) {
	n, _ := slices.BinarySearch(a.MissingAt, oldest+int64(overlap))
	a.Removed = uint64(n)
	a.Missing -= a.Removed
	a.MissingAt = a.MissingAt[n:]
}

// judge compares the counts.
func (a *Account) judge(rules Rules, rows uint64) {
	t := a.Ledger.Total
	wrong := func(format string, args ...any) { a.Wrong = append(a.Wrong, fmt.Sprintf(format, args...)) }
	if declared := a.Declared(); !rules.Killed && a.Missing > declared {
		a.Lost = a.Missing - declared
	}
	if rules.NoLedger {
		return
	}
	if !a.Ledger.Holds || t.Unaccounted > 0 {
		wrong("the ledger does not hold: %d unaccounted for; %s", t.Unaccounted, strings.Join(a.Ledger.Reasons, "; "))
	}
	if got := t.Stored + a.Declared() + t.InFlight + t.Unknown + t.Unaccounted; got != t.Seen {
		wrong("the ledger says that %d were seen, and its parts are %d", t.Seen, got)
	}
	if rules.Retention && t.Stored < rows || !rules.Retention && t.Stored != rows {
		wrong("the ledger says that %d are stored, and the list has %d", t.Stored, rows)
	}
	if t.InFlight > 0 {
		wrong("%d are still in flight", t.InFlight)
	}
	if rules.Killed {
		return
	}
	if t.Unknown > 0 {
		wrong("the ledger says that %d were lost with proxies, and none was killed", t.Unknown)
	}
	// Of a request that failed nobody knows whether it reached the proxy.
	if t.Seen < a.Completed || t.Seen > a.Generated {
		wrong("the ledger says that %d were seen, of %d completed and %d generated", t.Seen, a.Completed, a.Generated)
	}
}

// compareRow holds what a list shows against what the client knows.
func (b *Book) compareRow(found func(*uint64, string, ...any), a *Account, e *Entry, r Row) {
	if e.Outcome != Completed {
		return // how far such an exchange came the client cannot know
	}
	if e.Redacted {
		if r.Status != int(e.Status) {
			found(&a.Mispaired, "mispaired: %x has status %d, its client got %d", e.ID, r.Status, e.Status)
		}
		return
	}
	if r.Status != int(e.Status) || r.Response != e.In.Size {
		found(&a.Mispaired, "mispaired: %x has status %d and %d bytes, its client got %d and %d", e.ID, r.Status, r.Response, e.Status, e.In.Size)
		return
	}
	if r.Request != e.Out.Size {
		found(&a.Corrupt, "corrupt: %x has a request body of %d bytes, its client sent %d", e.ID, r.Request, e.Out.Size)
	}
	for _, f := range r.Flags {
		if !slices.Contains(cut, f) {
			found(&a.Corrupt, "corrupt: %x has the flag %s", e.ID, f)
		}
	}
	if r.Error != "" {
		found(&a.Corrupt, "corrupt: %x has the error %q", e.ID, r.Error)
	}
}

// compareWhole holds a pair with its bodies against what the client knows.
func compareWhole(found func(*uint64, string, ...any), a *Account, e *Entry, s *Stored) {
	if s.HeaderID != hex.EncodeToString(e.ID[:]) || s.EchoID != "" && s.EchoID != s.HeaderID {
		found(&a.Mispaired, "mispaired: %x has the header %s and the response to %s", e.ID, s.HeaderID, s.EchoID)
		return
	}
	if e.Outcome != Completed || e.Redacted {
		return
	}
	for _, side := range []struct {
		name string
		want Sum
		have StoredBody
	}{{"request", e.Out, s.Out}, {"response", e.In, s.In}} {
		w, h := side.want, side.have
		// At the very limit of its memory a proxy has no room to hash either,
		// and says nothing rather than something wrong.
		unhashed := w.Size == 0 || h.Truncated && len(h.Hash) == 0
		switch {
		case h.Size != w.Size || !unhashed && !bytes.Equal(h.Hash, w.XXH3[:]):
			found(&a.Corrupt, "corrupt: %x: %s body of %d bytes, hash %x; its client had %d, %x", e.ID, side.name, h.Size, h.Hash, w.Size, w.XXH3)
		case h.Kept == h.Size && h.Kept > 0 && h.KeptXXH3 != w.XXH3:
			found(&a.Corrupt, "corrupt: %x: the bytes kept of its %s body are not its client's", e.ID, side.name)
		case h.Kept != h.Size && !h.Truncated:
			found(&a.Corrupt, "corrupt: %x: %d bytes were kept of its %s body of %d, and it does not say so", e.ID, h.Kept, side.name, h.Size)
		}
	}
}
