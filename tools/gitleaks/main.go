// Command gitleaks writes the public rules of gitleaks (MIT licence) as a rule
// set of redact: their patterns as data, none of their code.
//
//	cd tools && go run ./gitleaks -out ../redact/gitleaks.yaml
//
// The version is pinned: another one is a change to be looked at. Rules that
// cannot be used are named in the file, with the reason.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

const module = "github.com/zricethezav/gitleaks/v8@v8.30.0"

// source is a rule as gitleaks writes it.
type source struct {
	ID       string   `toml:"id"`
	Regex    string   `toml:"regex"`
	Path     string   `toml:"path"`
	Entropy  float64  `toml:"entropy"`
	Keywords []string `toml:"keywords"`
}

// left are rules that are not taken, with the reason.
var left = map[string]string{
	"generic-api-key":       "names like these are rules of standard.yaml",
	"hashicorp-tf-password": "passwords go by their names",
	"jwt":                   "a detector of its own",
	"private-key":           "a detector of its own",
	"curl-auth-header":      "credentials go by their names",
	"curl-auth-user":        "it is for command lines in files",
	"twilio-api-key":        "a detector of its own; its keyword is in many a word",
	"sendgrid-api-token":    "a detector of its own",
	"vault-service-token":   "a detector of its own; its keyword ends many a sentence",
}

// What gitleaks puts around the shape of a value that goes by a name:
// name, up to 20 characters, an assignment, perhaps a quote, the value, and
// what ends it.
const (
	before = `[\w.-]{0,50}?`
	filler = `(?:[ \t\w.-]{0,20})[\s'"]{0,3}`
	assign = `(?:=|>|:{1,3}=|\|\||:|=>|\?=|,)[\x60'"\s=]{0,5}`
	ends   = `(?:[\x60'"\s;]|\\[nr]|$)`
	// Here a value also ends at what else is no part of it: it may stand in a
	// URL or a list.
	endsHere = `(?:[^0-9A-Za-z_\-]|$)`
)

type detector struct {
	name, pattern, key string
	keywords, keys     []string
	entropy            float64
	starts             bool
}

func main() {
	log.SetFlags(0)
	out := flag.String("out", "", "the `file` to write")
	flag.Parse()
	if err := run(*out); err != nil {
		log.Fatalf("gitleaks: %v", err)
	}
}

func run(out string) error {
	b, err := exec.Command("go", "mod", "download", "-json", module).Output()
	if err != nil {
		return fmt.Errorf("download %s: %w", module, err)
	}
	var at struct{ Dir string }
	if err := json.Unmarshal(b, &at); err != nil {
		return fmt.Errorf("read what go mod download says: %w", err)
	}
	var config struct{ Rules []source }
	if _, err := toml.DecodeFile(filepath.Join(at.Dir, "config", "gitleaks.toml"), &config); err != nil {
		return fmt.Errorf("read the rules: %w", err)
	}
	var detectors []detector
	var without []string
	for _, s := range config.Rules {
		list, err := convert(s)
		if err != nil {
			without = append(without, s.ID+": "+err.Error())
			continue
		}
		detectors = append(detectors, list...)
	}
	return os.WriteFile(out, write(detectors, without), 0o644)
}

// convert makes detectors of a rule, or says why there is none.
func convert(s source) ([]detector, error) {
	switch {
	case left[s.ID] != "":
		return nil, fmt.Errorf("%s", left[s.ID])
	case s.Path != "":
		return nil, fmt.Errorf("it goes by the name of a file")
	case len(s.Keywords) == 0:
		return nil, fmt.Errorf("it has no keyword")
	}
	head, rest, named := strings.Cut(s.Regex, filler)
	if !named {
		d := detector{name: s.ID, pattern: strings.ReplaceAll(s.Regex, ends, endsHere), keywords: s.Keywords, entropy: s.Entropy}
		return d.checked()
	}
	// The name's part of the pattern becomes names, the value's stays.
	ident := strings.TrimPrefix(head, "(?i)")
	insensitive := ident != head
	ident = strings.TrimPrefix(ident, before)
	if inner, ok := strings.CutPrefix(ident, "(?i:"+before); ok {
		ident, rest = inner, strings.TrimPrefix(rest, ")")
	}
	value, ok := strings.CutPrefix(rest, assign)
	if !ok {
		return nil, fmt.Errorf("it is not written as others are")
	}
	value, more, _ := strings.Cut(value, ends)
	d := detector{name: s.ID, entropy: s.Entropy, keys: names(ident, s.Keywords)}
	if slices.ContainsFunc(d.keys, func(k string) bool { return len(k) < 4 }) {
		return nil, fmt.Errorf("its name is in many a word")
	}
	d.pattern = `^['"\s]{0,5}` + value + `(?:[^0-9A-Za-z_\-./:]|$)`
	if insensitive {
		d.pattern = "(?i)" + d.pattern
	}
	list, err := d.checked()
	if more, ok := strings.CutPrefix(more, "|"); ok && err == nil {
		// Another shape, which goes by itself.
		other := detector{name: s.ID + "-shape", pattern: strings.ReplaceAll(more, ends, endsHere), entropy: s.Entropy}
		for _, k := range s.Keywords {
			if !slices.Contains(d.keys, plain(k)) {
				other.keywords = append(other.keywords, k)
			}
		}
		var second []detector
		second, err = other.checked()
		list = append(list, second...)
	}
	return list, err
}

func plain(name string) string {
	return strings.ToLower(strings.NewReplacer("-", "", "_", "", ".", "", " ", "", ",", "").Replace(name))
}

// names are those that a pattern of names has, as redact compares them.
func names(ident string, keywords []string) (list []string) {
	have := plain(strings.NewReplacer("[_-]?", "", "(?-i:", "", "(?:", "", ")", "", "(", "").Replace(ident))
	for _, k := range keywords {
		if n := plain(k); strings.Contains(have, n) && !slices.Contains(list, n) {
			list = append(list, n)
		}
	}
	if len(list) == 0 {
		for n := range strings.SplitSeq(have, "|") {
			if n != "" && !slices.Contains(list, n) {
				list = append(list, n)
			}
		}
	}
	return list
}

// repeated is a group that is there several times: it is not the secret.
var repeated = regexp.MustCompile(`\(([^()?][^()]*)\)\{`)

func (d detector) checked() ([]detector, error) {
	d.pattern = repeated.ReplaceAllString(d.pattern, "(?:$1){")
	if _, err := regexp.Compile(d.pattern); err != nil {
		return nil, err
	}
	for _, k := range d.keywords {
		if len(k) < 3 && strings.Trim(k, "abcdefghijklmnopqrstuvwxyz0123456789-_. ") == "" {
			return nil, fmt.Errorf("keyword %q is in many a word", k)
		}
	}
	if len(d.keywords) > 0 {
		re, err := syntax.Parse(d.pattern, syntax.Perl)
		if err != nil {
			return nil, err
		}
		d.starts = true
		var first []string // keywords that begin a match
		for _, begin := range beginnings(re.Simplify()) {
			i := slices.IndexFunc(d.keywords, func(k string) bool { return strings.HasPrefix(begin, k) })
			if d.starts = d.starts && i >= 0; i >= 0 && !slices.Contains(first, d.keywords[i]) {
				first = append(first, d.keywords[i])
			}
		}
		if d.starts {
			d.keywords = first
		}
		// What stands before the match is looked at by who tries it.
		if rest, ok := strings.CutPrefix(d.pattern, `(?i)\b`); ok && d.starts {
			d.pattern = "(?i)" + rest
		} else if d.starts {
			d.pattern = strings.TrimPrefix(d.pattern, `\b`)
		}
	}
	return []detector{d}, nil
}

// beginnings are the texts, in lower case, with one of which every match
// begins; an empty one where that cannot be told.
func beginnings(re *syntax.Regexp) []string {
	list, _ := walk(re)
	return list
}

// walk gives the beginnings, and whether they are all there is of a match.
func walk(re *syntax.Regexp) (list []string, whole bool) {
	switch re.Op {
	case syntax.OpLiteral:
		return []string{strings.ToLower(string(re.Rune))}, true
	case syntax.OpCapture:
		return walk(re.Sub[0])
	case syntax.OpWordBoundary, syntax.OpEmptyMatch:
		return []string{""}, true
	case syntax.OpCharClass:
		var chars []string
		for i := 0; i < len(re.Rune); i += 2 {
			for r := re.Rune[i]; r <= re.Rune[i+1]; r++ {
				if len(chars) == 6 {
					return []string{""}, false
				}
				chars = append(chars, strings.ToLower(string(r)))
			}
		}
		slices.Sort(chars)
		return slices.Compact(chars), true
	case syntax.OpAlternate:
		whole = true
		for _, s := range re.Sub {
			more, all := walk(s)
			list, whole = append(list, more...), whole && all
		}
		return list, whole
	case syntax.OpConcat:
		list, whole = []string{""}, true
		for _, s := range re.Sub {
			more, all := walk(s)
			var next []string
			for _, a := range list {
				for _, b := range more {
					next = append(next, a+b)
				}
			}
			if list, whole = next, all; !whole || len(list) > 64 {
				return list, false
			}
		}
		return list, whole
	}
	return []string{""}, false
}

// write gives the rule set as YAML.
func write(detectors []detector, without []string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Generated by tools/gitleaks from the rules of %s.\n# Do not edit.\n#\n", module)
	b.WriteString("# Copyright (c) 2019 Zachary Rice. MIT licence: see THIRD_PARTY.md.\n#\n# Not taken:\n")
	for _, w := range without {
		fmt.Fprintf(&b, "#   %s\n", w)
	}
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
	list := func(all []string) string {
		for i, s := range all {
			all[i] = quote(s)
		}
		return "[" + strings.Join(all, ", ") + "]"
	}
	b.WriteString("detectors:\n")
	for _, d := range detectors {
		fmt.Fprintf(&b, "  - {name: %s, pattern: %s", d.name, quote(d.pattern))
		if len(d.keywords) > 0 {
			fmt.Fprintf(&b, ", keywords: %s", list(slices.Clone(d.keywords)))
		}
		if d.starts {
			b.WriteString(", starts: true")
		}
		if d.entropy > 0 {
			fmt.Fprintf(&b, ", entropy: %g", d.entropy)
		}
		b.WriteString("}\n")
	}
	b.WriteString("rules:\n")
	for _, d := range detectors {
		fmt.Fprintf(&b, "  - {name: %s, what: %s", d.name, d.name)
		if len(d.keys) > 0 {
			keys := make([]string, len(d.keys))
			for i, k := range d.keys {
				keys[i] = "*" + k + "*"
			}
			fmt.Fprintf(&b, ", keys: %s", list(keys))
		}
		if kind := kindOf(d.name); kind != strings.ToUpper(d.name) {
			fmt.Fprintf(&b, ", type: %s", kind)
		}
		b.WriteString("}\n")
	}
	return b.Bytes()
}

// kindOf is the type of a rule's tokens: its name, in at most 32 characters.
func kindOf(name string) string {
	kind := strings.ToUpper(name)
	for len(kind) > 32 {
		kind = kind[:strings.LastIndexByte(kind, '-')]
	}
	return kind
}
