// Package redact removes from pairs what must not be kept: credentials, keys,
// card numbers and whatever else a rule set names (RULES.md). It edits pairs
// in place, does no input or output, and keeps nothing of what it saw.
//
// It fails closed. What cannot be looked into (an unknown content coding, a
// document that contradicts its type, ambiguous framing, more work than the
// budget allows) is withheld, and the pair says so. What was changed is
// receipted by rule, place, type and count; never by value.
//
// A message is looked at in two steps. One pass over its bytes asks whether
// anything in them could interest any rule (prefilter.go); most messages end
// there, untouched and without an allocation. The others are walked in their
// own syntax, value by value, and rewritten where a value changes.
package redact

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// Redactor applies a rule set. Its methods may be called by many goroutines
// at once.
type Redactor struct {
	rules atomic.Pointer[Set]
	keys  atomic.Pointer[Keys]
}

// New makes a redactor.
func New(set *Set, keys *Keys) *Redactor {
	r := new(Redactor)
	r.rules.Store(set)
	r.keys.Store(keys)
	return r
}

// Use changes the rules. A pair is redacted by the old set or by the new one,
// whole: there is no moment without rules.
func (r *Redactor) Use(set *Set) { r.rules.Store(set) }

// UseKeys changes the keys of tokens.
func (r *Redactor) UseKeys(keys *Keys) { r.keys.Store(keys) }

// Name is the rule set's.
func (r *Redactor) Name() string { return r.rules.Load().name }

// Redact edits p in place. It always leaves a pair that may be kept. The error
// says why content of it was withheld though no rule asked for that.
func (r *Redactor) Redact(p *capturev1.RRPair) (err error) {
	w := works.Get().(*work)
	*w = work{set: r.rules.Load(), keys: r.keys.Load(), pair: p, firstRule: -1}
	defer func() {
		if v := recover(); v != nil {
			// Whatever state the pair is in, nothing of it is kept.
			// What a panic says may be content; what the runtime says is none.
			err = errors.New("redaction panicked")
			if fault, ok := v.(runtime.Error); ok {
				err = fmt.Errorf("redaction panicked: %w", fault)
			}
			w.withholdPair(ReasonFault, true)
		}
		w.finish()
		*w = work{}
		works.Put(w)
	}()
	return w.run()
}

// Path is what may be shown of a path that is not part of a pair, such as in a
// log. It never changes path.
func (r *Redactor) Path(path []byte) (shown []byte) {
	w := work{set: r.rules.Load(), keys: r.keys.Load(), pair: new(capturev1.RRPair), firstRule: -1, quiet: 1, fuel: fuelFloor + fuelPerByte*len(path)}
	defer func() {
		if recover() != nil || w.failed != nil {
			shown = []byte(ruleWithheld)
		}
	}()
	shown, _ = w.path(path)
	return shown
}

// Reasons for withholding, as they stand in the receipt's type.
const (
	ReasonRule       = "rule"
	ReasonFault      = "fault"
	ReasonAmbiguous  = "framing_ambiguous"
	ReasonOpaque     = "opaque"
	ReasonCoding     = "content_coding"
	ReasonMalformed  = "malformed"
	ReasonUnknown    = "unknown_type"
	ReasonBudget     = "budget"
	ruleWithheld     = "withheld"
	maxReceipts      = 64
	receiptsOverflow = "(more)"
)

// OnlyWithheld reports whether a receipt says that content was withheld, not
// that a rule found something.
func OnlyWithheld(r *capturev1.Redaction) bool { return r.GetRule() == ruleWithheld }

// errBudget: a pair needs more work than it is allowed.
var errBudget = errors.New("it needs more work than its budget allows")

var errNested = fmt.Errorf("it has values in values in values: %w", errBudget)

// Budget of one pair, counted in bytes that are looked at, however often:
// fuelFloor and fuelPerByte for each byte of the pair.
const (
	fuelFloor   = 1 << 20
	fuelPerByte = 24
	// maxDecoded bounds a body that is decoded, maxRatio what it may grow by:
	// with what the decoders need no pair takes more than 8 MiB more. Those of
	// br and zstd remember much of what they gave.
	maxDecoded  = 4 << 20
	maxWindowed = 3 << 19
	maxWindow   = 4 << 20
	maxRatio    = 256
	// maxNesting bounds values within values: JSON in a JSON text, base64 in a
	// form field. What is deeper is withheld. flat is for values into which
	// nobody looks further.
	maxNesting = 12
	flat       = 1 << 16
)

var works = sync.Pool{New: func() any { return new(work) }}

// work is the redaction of one pair.
type work struct {
	set  *Set
	keys *Keys
	pair *capturev1.RRPair
	// off has the rules whose scope leaves this pair out.
	off ruleSet
	// side is "request" or "response" while a message is looked at.
	side     string
	fuel     int
	failed   error
	changed  bool
	withheld bool
	// stop: a rule wants the body withheld.
	stop bool
	// quiet: looking inside a value that will be replaced as a whole; nothing
	// is receipted.
	quiet int
	// firstRule is the first that found something while quiet; -1 for none.
	firstRule int
	// variables are those of a GraphQL operation that are given to arguments
	// that rules name, with the rules.
	variables map[string]int
	// noted counts what rules took.
	noted    int
	receipts []*capturev1.Redaction
}

// ruleSet is a set of places in Set.rules.
type ruleSet [maxRules / 64]uint64

func (s *ruleSet) add(i int)      { s[i/64] |= 1 << (i % 64) }
func (s *ruleSet) has(i int) bool { return s[i/64]&(1<<(i%64)) != 0 }

func (w *work) run() error {
	p := w.pair
	for _, i := range w.set.scoped {
		if !w.set.rules[i].scope.Match(p) {
			w.off.add(i)
		}
	}
	w.fuel = fuelFloor + fuelPerByte*size(p)
	if slices.Contains(p.GetFlags(), capturev1.Flag_FLAG_FRAMING_AMBIGUOUS) {
		// What stays of it is redacted first.
		w.source()
		w.side = "request"
		w.head(p.GetRequest())
		w.side = "response"
		w.head(p.GetResponse())
		w.withholdPair(ReasonAmbiguous, w.failed != nil)
		return w.failed
	}
	w.source()
	if w.failed != nil {
		w.withholdPair(ReasonBudget, true)
		return fmt.Errorf("pair withheld: %w", w.failed)
	}
	var errs []error
	for _, m := range [...]struct {
		side string
		*capturev1.Message
	}{{"request", p.GetRequest()}, {"response", p.GetResponse()}} {
		if m.Message == nil {
			continue
		}
		w.side = m.side
		if err := w.message(m.Message); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", m.side, err))
		}
	}
	return errors.Join(errs...)
}

func size(p *capturev1.RRPair) int {
	n := len(p.GetPath()) + len(p.GetQuery())
	for _, m := range [...]*capturev1.Message{p.GetRequest(), p.GetResponse()} {
		n += len(m.GetHead()) + len(m.GetBody()) + len(m.GetTrailers())
	}
	return n
}

// spend takes work from the budget.
func (w *work) spend(bytes int) bool {
	w.fuel -= bytes
	if w.fuel < 0 && w.failed == nil {
		w.failed = errBudget
	}
	return w.failed == nil
}

// fail withholds the body that is looked at.
func (w *work) fail(err error) {
	if w.failed == nil {
		w.failed = err
	}
}

// receipt notes a change.
func (w *work) receipt(rule, location, kind string) {
	if w.quiet > 0 {
		return
	}
	w.changed = true
	for _, r := range w.receipts {
		if r.GetRule() == rule && r.GetLocation() == location && r.GetType() == kind {
			r.Count++
			return
		}
	}
	if len(w.receipts) == maxReceipts {
		last := w.receipts[maxReceipts-1]
		last.Location, last.Rule, last.Type = receiptsOverflow, receiptsOverflow, receiptsOverflow
		last.Count++
		return
	}
	w.receipts = append(w.receipts, &capturev1.Redaction{Rule: rule, Location: location, Type: kind, Count: 1})
}

// shadow notes what a rule in shadow would have changed.
func (w *work) shadow(r *rule, location string) {
	changed := w.changed
	w.receipt(r.name, location, "shadow:"+r.kind)
	w.changed = changed
}

// shadowAt is shadow for a value.
func (w *work) shadowAt(r *rule, at where) {
	switch {
	case w.quiet > 0:
	case len(w.receipts) == maxReceipts:
		w.shadow(r, receiptsOverflow)
	default:
		w.shadow(r, w.location(at))
	}
}

func (w *work) finish() {
	p := w.pair
	p.Redactions = append(p.Redactions, w.receipts...)
	if w.changed && !slices.Contains(p.GetFlags(), capturev1.Flag_FLAG_REDACTED) {
		p.Flags = append(p.Flags, capturev1.Flag_FLAG_REDACTED)
	}
	if w.withheld && !slices.Contains(p.GetFlags(), capturev1.Flag_FLAG_WITHHELD) {
		p.Flags = append(p.Flags, capturev1.Flag_FLAG_WITHHELD)
	}
}
