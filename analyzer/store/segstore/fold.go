package segstore

import (
	"bytes"
	"strings"

	"github.com/weir-capture/weir/query"
)

// folded finds a text whatever the case of its ASCII letters.
type folded struct {
	text string // in lower case
	// at is the place in text of the byte that is looked for: the one that
	// captured traffic has least of. upper is it in upper case.
	at           int
	lower, upper byte
}

// common are the bytes that JSON, headers and addresses have most of, the most
// frequent last. What is not here is rarer.
const common = "xvykbwfgmup97864352lhcd10snioart\"e:,/-. \n\r"

func newFolded(text string) *folded {
	f := &folded{text: text}
	rank := func(c byte) int { return strings.IndexByte(common, c) }
	for i := range len(text) {
		if rank(text[i]) < rank(text[f.at]) {
			f.at = i
		}
	}
	f.lower = text[f.at]
	f.upper = f.lower
	if 'a' <= f.lower && f.lower <= 'z' {
		f.upper -= 'a' - 'A'
	}
	return f
}

// in reports whether the text is in b.
func (f *folded) in(b []byte) bool {
	return f.around(b, f.lower) || f.upper != f.lower && f.around(b, f.upper)
}

// around looks at each place of c in b that has room for the text around it.
func (f *folded) around(b []byte, c byte) bool {
	last := len(b) - (len(f.text) - f.at)
	for place := f.at; place <= last; place++ {
		i := bytes.IndexByte(b[place:last+1], c)
		if i < 0 {
			return false
		}
		place += i
		if f.stands(b[place-f.at:]) {
			return true
		}
	}
	return false
}

// stands reports whether b begins with the text.
func (f *folded) stands(b []byte) bool {
	for i := range len(f.text) {
		c := b[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != f.text[i] {
			return false
		}
	}
	return true
}

// texts decides by the bytes of many pairs together whether one of them may
// have what is needed.
type texts struct {
	need  *query.Need
	leafs map[string]*folded
}

func newTexts(n *query.Need) *texts {
	t := &texts{need: n, leafs: map[string]*folded{}}
	t.add(n)
	return t
}

func (t *texts) add(n *query.Need) {
	if n == nil {
		return
	}
	if n.Text != "" && t.leafs[n.Text] == nil {
		t.leafs[n.Text] = newFolded(n.Text)
	}
	for _, list := range [][]*query.Need{n.All, n.Any} {
		for _, c := range list {
			t.add(c)
		}
	}
}

// may is false when no pair in raw fulfils the need.
func (t *texts) may(raw []byte) bool {
	return t.need.Holds(func(leaf *query.Need) bool { return t.leafs[leaf.Text].in(raw) })
}
