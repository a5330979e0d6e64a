package redact

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"sync"
)

// pattern is a detector as a rule set writes it.
type pattern struct {
	text string
	// keywords are texts of which every match has one; starts: it begins with
	// it. Without them the pattern's literal beginning serves, and without
	// that it is tried on every value.
	keywords []string
	starts   bool
	// known to be right: it is compiled when it is used first. Few sets use
	// all of what comes with the program.
	known bool
}

// minKeyword keeps keywords from being found everywhere.
const minKeyword = 3

func (p pattern) detector(name string) (*detector, error) {
	d := &detector{name: name, kind: strings.ToUpper(strings.ReplaceAll(name, "_", "-")), whole: !p.starts}
	compiled := sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(p.text) })
	if !p.known {
		if p.text == "" {
			return nil, errors.New("it has no pattern")
		}
		re, err := regexp.Compile(p.text)
		if err != nil {
			return nil, err
		}
		if re.MatchString("") {
			return nil, fmt.Errorf("pattern /%s/ matches the empty text", p.text)
		}
		for _, k := range p.keywords {
			if len(k) < minKeyword {
				return nil, fmt.Errorf("keyword %q is shorter than %d characters", k, minKeyword)
			}
		}
		if p.starts && len(p.keywords) == 0 {
			return nil, errors.New("starts: it has no keywords")
		}
		if prefix, _ := re.LiteralPrefix(); len(p.keywords) == 0 && len(prefix) >= minKeyword {
			p.keywords = []string{prefix}
		}
		compiled = func() *regexp.Regexp { return re }
	}
	for _, k := range p.keywords {
		d.keywords = append(d.keywords, strings.ToLower(k))
	}
	if p.starts {
		d.find, d.alone = anchored(p.text), true
		return d, nil
	}
	d.once = beginsText(p.text)
	d.find = func(v []byte, _ int) (int, int, bool) { return secretOf(compiled().FindSubmatchIndex(v), 0) }
	return d, nil
}

// secretOf is the part of a match that has to go: its first group, if it has
// one.
func secretOf(match []int, at int) (from, to int, ok bool) {
	if match == nil {
		return 0, 0, false
	}
	if len(match) >= 4 && match[2] >= 0 {
		return at + match[2], at + match[3], true
	}
	return at + match[0], at + match[1], true
}

// beginsText: a pattern matches at the beginning of a text only.
func beginsText(text string) bool {
	re, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return false
	}
	for re.Op == syntax.OpConcat || re.Op == syntax.OpCapture {
		re = re.Sub[0]
	}
	return re.Op == syntax.OpBeginText
}

// matchWindow is how far a match usually reaches: what an anchored pattern
// costs depends on how much it is given.
const matchWindow = 512

// anchored looks for a pattern at one place, where it may not go on from a
// letter or digit before it: a key stands by itself.
func anchored(text string) func(v []byte, at int) (from, to int, ok bool) {
	compiled := sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(?:` + text + `)`) })
	return func(v []byte, at int) (int, int, bool) {
		if at > 0 && alnum(v[at]) && alnum(v[at-1]) {
			return 0, 0, false
		}
		end := min(len(v), at+matchWindow)
		m := compiled().FindSubmatchIndex(v[at:end])
		if end < len(v) && (m == nil || at+m[1] == end) {
			m = compiled().FindSubmatchIndex(v[at:])
		}
		return secretOf(m, at)
	}
}
