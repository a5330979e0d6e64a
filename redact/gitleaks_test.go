package redact_test

import (
	"fmt"
	"os"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/weir-capture/weir/redact"
)

// shared are the rules of gitleaks.yaml.
type shared struct {
	Detectors []struct {
		Name, Pattern string
		Keywords      []string
		Entropy       float64
	}
	Rules []struct {
		Name, Type string
		Keys       []string
	}
}

func sharedRules(t *testing.T) (s shared) {
	t.Helper()
	b, err := os.ReadFile("gitleaks.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	if len(s.Rules) < 190 || len(s.Rules) != len(s.Detectors) {
		t.Fatalf("%d rules, %d detectors", len(s.Rules), len(s.Detectors))
	}
	return s
}

// sharedSamples makes values of each rule from its own pattern, and of each one
// that only looks like it: below another name, or with its mark backwards.
func (g generator) sharedSamples(t *testing.T, each int) (all []sample) {
	s := sharedRules(t)
	for i, d := range s.Detectors {
		r := s.Rules[i]
		kind := r.Type
		if kind == "" {
			kind = strings.ToUpper(r.Name)
		}
		re := regexp.MustCompile(d.Pattern)
		tree, err := syntax.Parse(d.Pattern, syntax.Perl)
		if err != nil {
			t.Fatal(err)
		}
		for range each {
			v := g.match(t, re, tree, d.Keywords)
			secret := v
			if m := re.FindStringSubmatch(v); len(m) > 1 && m[1] != "" {
				secret = m[1]
			}
			name := "note"
			if len(r.Keys) > 0 {
				name = "my_" + strings.Trim(r.Keys[g.IntN(len(r.Keys))], "*") + "_id"
			}
			all = append(all, sample{kind: kind, value: v, name: name, secret: secret})
			look := sample{value: v, name: "note"}
			if len(r.Keys) == 0 {
				look.value, look.name = unkeyed(v, d.Keywords), name
			}
			if !evident[r.Name] && strings.Trim(look.value, digits+"-") != "" { // a number may well be a card's
				all = append(all, look)
			}
		}
	}
	return all
}

// evident are rules whose values are secrets by other marks as well.
var evident = map[string]bool{
	"aws-access-token": true, "openai-api-key": true, "sidekiq-sensitive-url": true,
	"new-relic-insert-key": true, "new-relic-user-api-key": true,
}

// unkeyed turns keywords around.
func unkeyed(v string, keywords []string) string {
	for _, k := range keywords {
		turned := []byte(k)
		slices.Reverse(turned)
		for {
			i := strings.Index(strings.ToLower(v), k)
			if i < 0 || string(turned) == k {
				break
			}
			v = v[:i] + string(turned) + v[i+len(k):]
		}
	}
	return v
}

// match makes a text that a pattern matches and that looks random enough.
func (g generator) match(t *testing.T, re *regexp.Regexp, tree *syntax.Regexp, keywords []string) string {
	t.Helper()
	for range 1000 {
		var b strings.Builder
		g.walk(&b, tree)
		v := strings.Trim(b.String(), ` '"`)
		if !re.MatchString(v) {
			continue
		}
		if len(keywords) == 0 || slices.ContainsFunc(keywords, func(k string) bool { return strings.Contains(strings.ToLower(v), k) }) {
			return v
		}
		return keywords[0] + ": " + v // it is the context's
	}
	t.Fatalf("no text for %s", re)
	return ""
}

// walk writes a text that a pattern matches. Of any number of repetitions it
// takes few more than the least.
func (g generator) walk(b *strings.Builder, re *syntax.Regexp) {
	repeat := func(least, most int) {
		if most < 0 || most > least+8 {
			most = least + 8
		}
		for range least + g.IntN(most-least+1) {
			g.walk(b, re.Sub[0])
		}
	}
	switch re.Op {
	case syntax.OpLiteral:
		b.WriteString(string(re.Rune))
	case syntax.OpCharClass:
		var chars []rune
		for i := 0; i < len(re.Rune); i += 2 {
			for r := max(re.Rune[i], ' '); r <= min(re.Rune[i+1], '~'); r++ {
				chars = append(chars, r)
			}
		}
		if len(chars) > 0 {
			b.WriteRune(chars[g.IntN(len(chars))])
		}
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		b.WriteByte(word[g.IntN(len(word))])
	case syntax.OpCapture:
		g.walk(b, re.Sub[0])
	case syntax.OpConcat:
		for _, s := range re.Sub {
			g.walk(b, s)
		}
	case syntax.OpAlternate:
		// What ends a value is best the end.
		if last := re.Sub[len(re.Sub)-1]; last.Op == syntax.OpEndText {
			return
		}
		g.walk(b, re.Sub[g.IntN(len(re.Sub))])
	case syntax.OpRepeat:
		repeat(re.Min, re.Max)
	case syntax.OpStar:
		repeat(0, -1)
	case syntax.OpPlus:
		repeat(1, -1)
	case syntax.OpQuest:
		repeat(0, 1)
	}
}

// TestShared: all patterns that come with the program are what RE2 takes, and
// every rule that is used stands in the notice's file.
func TestShared(t *testing.T) {
	s := sharedRules(t)
	for _, d := range s.Detectors {
		if _, err := regexp.Compile(d.Pattern); err != nil {
			t.Errorf("%s: %v", d.Name, err)
		}
	}
	b, err := os.ReadFile("../THIRD_PARTY.md")
	if err != nil || !strings.Contains(string(b), "Copyright (c) 2019 Zachary Rice") {
		t.Errorf("THIRD_PARTY.md has no notice of the rules (%v)", err)
	}
}

// TestDetectorFields: what a rule set says of its own patterns holds.
func TestDetectorFields(t *testing.T) {
	const rules = `
detectors:
  - {name: badge, pattern: 'BDG-([0-9]{8})', keywords: [bdg-], starts: true}
  - {name: worn, pattern: '[0-9]{4}-WORN', keywords: ['-worn'], entropy: 2.5}
rules:
  - {name: a, what: badge, how: mask}
  - {name: b, what: worn, how: mask}
`
	for in, want := range map[string]string{
		"BDG-12345678, BDG-87654321.": "BDG-********, BDG-********.",
		"XBDG-12345678":               "XBDG-12345678",
		"1234-WORN 5678-WORN":         "******** ********",
		"1111-WORN":                   "1111-WORN",
	} {
		p := post("text/plain", in)
		if err := with(t, rules).Redact(p); err != nil || string(p.GetRequest().GetBody()) != want {
			t.Errorf("%s became %s, want %s (%v)", in, p.GetRequest().GetBody(), want, err)
		}
	}
	for text, want := range map[string]string{
		"{name: a, pattern: 'x[0-9]+', starts: true}":                                       "it has no keywords",
		"{name: a, pattern: 'x[0-9]+', keywords: [xyz], entropy: 9}":                        "entropy: 9",
		"{name: a, pattern: 'x', keywords: [xyz], entropy: 2, validate: luhn}":              "no validate",
		fmt.Sprintf("{name: a, pattern: '%s', keywords: [xyz]}", "x{2000}"):                 "line 2",
		"{name: a, pattern: 'x', keywords: [xyz], begins: true}":                            `unknown field "begins"`,
		"{name: asana-client-id, pattern: 'x[0-9]{4}', keywords: [xyz]}\nextends: standard": "is there twice",
	} {
		_, err := redact.Parse("t", []byte("detectors:\n  - "+text+"\n"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
