package redact

import (
	"slices"
	"strings"
)

// signs is what one pass over some bytes saw.
type signs uint8

const (
	// hasWord: a keyword of a detector or a rule's name.
	hasWord signs = 1 << iota
	// hasNumber: enough digits in a row for a card, an account or the like.
	hasNumber
	// hasEscape: \u, \/, &# or % escapes, behind which anything may stand.
	hasEscape
	// hasLong: a run of characters that could be base64 of something.
	hasLong
)

const (
	numberDigits = 8
	longRun      = 20
)

// scanner finds all keywords of a set in one pass (A. Aho, M. Corasick,
// "Efficient string matching", CACM 18, 1975), without regard to case, and
// passing over what parts the words of names, so that api_key, "API key" and
// apikey are one.
type scanner struct {
	class [256]uint8 // of bytes; 0 is one that no keyword has, classSkip what parts words
	shift uint
	next  []uint16 // state<<shift | class → state
	out   [][]word // by state: what ends there
	// marks says of each byte what else it may be part of.
	marks [256]uint8
	// always: some rule goes by no keyword, so that every value is walked.
	always bool
	// wholes are detectors without keywords.
	wholes []int
	// numbers are rules whose detectors are tried at digits, longs those that
	// are tried at long runs.
	numbers, longs []int
}

const classSkip = 255

const (
	markDigit uint8 = 1 << iota
	markJoin        // between digits
	markLong
)

// word is a keyword that ends in a state.
type word struct {
	length int // characters without what parts words
	// literal is a detector's keyword as it has to stand there, in lower case,
	// and lead how many of its characters part words and go before. Names have
	// none: what parts their words does not count.
	literal string
	lead    int
	// alone: no letter or digit goes before it.
	alone bool
	// rule is whose detector has it; -1 for the name of a key, which globs may
	// match, places in Set.globs.
	rule  int
	globs []int
}

// newScanner makes the scanner of a set's rules.
func newScanner(set *Set) *scanner {
	s := new(scanner)
	words := map[string][]word{}
	keyword := func(text string, rule int, alone bool) {
		n := normal(text)
		if n == "" {
			s.always = true
			return
		}
		w := word{length: len(n), literal: strings.ToLower(text), alone: alone && alnum(text[0]), rule: rule}
		w.lead = len(text) - len(strings.TrimLeft(text, separators))
		words[n] = append(words[n], w)
	}
	name := func(text string, globs ...int) {
		n := normal(text)
		if n == "" {
			s.always = true
			return
		}
		for i := range words[n] {
			if w := &words[n][i]; w.rule < 0 {
				w.globs = append(w.globs, globs...)
				return
			}
		}
		words[n] = append(words[n], word{length: len(n), rule: -1, globs: globs})
	}
	for i, r := range set.rules {
		switch d := r.detect; {
		case d == nil:
		case d.digits:
			s.numbers = append(s.numbers, i)
		case d.long:
			s.longs = append(s.longs, i)
		case len(d.keywords) == 0:
			// One that goes by names is found by them.
			s.wholes, s.always = append(s.wholes, i), s.always || !r.keyed
		default:
			for _, k := range d.keywords {
				keyword(k, i, d.alone)
			}
		}
		for _, p := range r.jsonPaths {
			name(last(p))
		}
		if slices.Contains(set.anyName, i) && r.in&^(inHeader|inCookie|inQuery) != 0 || r.in&inBody != 0 || r.in&inSQL != 0 {
			s.always = true
		}
	}
	for n := range set.names {
		name(n)
	}
	for i, g := range set.globs {
		longest := ""
		for _, part := range g.parts {
			if len(part) > len(longest) {
				longest = part
			}
		}
		name(longest, i)
	}
	s.build(words)
	for c := range 256 {
		b := byte(c)
		switch {
		case digit(b):
			s.marks[c] = markDigit | markLong
		case b == ' ':
			s.marks[c] = markJoin
		case b == '-':
			s.marks[c] = markJoin | markLong
		case b == '+': // also a space in forms
			s.marks[c] = markJoin | markLong
		case alnum(b), b == '/', b == '_':
			s.marks[c] = markLong
		}
	}
	return s
}

// characters bounds the states of a set's scanner.
func (s *Set) characters() int {
	n := 0
	for name := range s.names {
		n += len(name)
	}
	for _, g := range s.globs {
		for _, part := range g.parts {
			n += len(part)
		}
	}
	for _, r := range s.rules {
		if r.detect != nil {
			for _, k := range r.detect.keywords {
				n += len(k)
			}
		}
		for _, p := range r.jsonPaths {
			n += len(last(p))
		}
	}
	return n
}

func last(steps []string) string {
	if s := steps[len(steps)-1]; s != "*" {
		return s
	}
	return ""
}

// build makes the automaton: a tree of the words, whose missing branches lead
// where the longest suffix leads that is a branch.
func (s *scanner) build(words map[string][]word) {
	classes := 1
	texts := make([]string, 0, len(words))
	for text := range words {
		texts = append(texts, text)
		for i := range len(text) {
			if s.class[text[i]] == 0 {
				s.class[text[i]] = uint8(classes)
				classes++
			}
		}
	}
	slices.Sort(texts)
	for c := 'A'; c <= 'Z'; c++ {
		s.class[c] = s.class[c-'A'+'a']
	}
	for 1<<s.shift < classes {
		s.shift++
	}
	width := 1 << s.shift
	s.next, s.out = make([]uint16, width), make([][]word, 1)
	for _, text := range texts {
		state := 0
		for i := range len(text) {
			at := state<<s.shift | int(s.class[text[i]])
			if s.next[at] == 0 {
				s.next[at] = uint16(len(s.out))
				s.next, s.out = append(s.next, make([]uint16, width)...), append(s.out, nil)
			}
			state = int(s.next[at])
		}
		s.out[state] = append(s.out[state], words[text]...)
	}
	fail := make([]uint16, len(s.out))
	var queue []uint16
	for c := range width {
		if t := s.next[c]; t != 0 {
			queue = append(queue, t)
		}
	}
	for ; len(queue) > 0; queue = queue[1:] {
		state := int(queue[0])
		s.out[state] = append(s.out[state], s.out[fail[state]]...)
		for c := range width {
			t, other := &s.next[state<<s.shift|c], s.next[int(fail[state])<<s.shift|c]
			if *t == 0 {
				*t = other
				continue
			}
			fail[*t] = other
			queue = append(queue, *t)
		}
	}
	for _, c := range separators { // as normal has them
		s.class[c] = classSkip
	}
}

// separators part the words of names.
const separators = "-_ ."

// shortWord is the longest name that would be found in many a text if
// spaces and points did not count: "less now", "not paid".
const shortWord = 4

// fits says where a keyword begins that ends at v[end], and whether it is one.
func (s *scanner) fits(w word, v []byte, end int) (start int, ok bool) {
	start = end
	for n := w.length; ; start-- {
		c := v[start]
		if s.class[c] != classSkip {
			if n--; n == 0 {
				break
			}
		} else if w.length <= shortWord && w.literal == "" && (c == ' ' || c == '.') {
			return 0, false
		}
	}
	if w.literal == "" {
		return start, true
	}
	if start -= w.lead; start < 0 || len(v)-start < len(w.literal) {
		return 0, false
	}
	for i := range len(w.literal) {
		if c := v[start+i]; c != w.literal[i] && (!upper(c) || c+'a'-'A' != w.literal[i]) {
			return 0, false
		}
	}
	return start, !w.alone || start == 0 || !alnum(v[start-1])
}

// look says what a value could have. It ends at the first word: who asks then
// walks the value.
func (s *scanner) look(v []byte) (found signs) {
	if s.always {
		return hasWord
	}
	state, digits, long := 0, 0, 0
	for i, c := range v {
		if k := s.class[c]; k != classSkip {
			state = int(s.next[state<<s.shift|int(k)])
			for _, w := range s.out[state] {
				if _, ok := s.fits(w, v, i); ok {
					return found | hasWord
				}
			}
		}
		switch m := s.marks[c]; {
		case m&markLong != 0:
			if long++; long == longRun {
				found |= hasLong
			}
			if m&markDigit != 0 {
				if digits++; digits == numberDigits {
					found |= hasNumber
				}
			} else if m&markJoin == 0 {
				digits = 0
			}
		case m == 0:
			digits, long = 0, 0
			if c == '%' || i+1 < len(v) && (c == '\\' && (v[i+1] == 'u' || v[i+1] == '/') || c == '&' && v[i+1] == '#') {
				found |= hasEscape
			}
		default: // a space
			long = 0
		}
	}
	return found
}

// globs calls f for each pattern of names of which v, which is normal, has the
// longest part.
func (s *scanner) globs(v []byte, f func(i int)) {
	state := 0
	for _, c := range v {
		state = int(s.next[state<<s.shift|int(s.class[c])])
		for _, w := range s.out[state] {
			for _, i := range w.globs {
				f(i)
			}
		}
	}
}
