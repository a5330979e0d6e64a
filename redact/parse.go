package redact

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/weir-capture/weir/query"
)

// builder collects what is read, and what is wrong with it.
type builder struct {
	set       *Set
	detectors map[string]*detector
	// own: what is read comes with the program, and is known to be right.
	own  bool
	errs []error
}

func (b *builder) fail(line int, format string, args ...any) {
	err := fmt.Errorf(format, args...)
	if line > 0 {
		err = fmt.Errorf("line %d: %w", line, err)
	}
	b.errs = append(b.errs, err)
}

// add reads one file; depth counts those that extend each other.
func (b *builder) add(text []byte, depth int) {
	var f file
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&f); err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("it is empty")
		}
		b.fail(0, "%w", err)
		return
	}
	switch f.Extends {
	case "":
	case Standard, StandardPII:
		if depth > 1 {
			b.fail(0, "rule sets extend each other in a circle")
			return
		}
		own := b.own
		b.own = true
		b.add(standard, depth+1)
		b.add(gitleaks, depth+1)
		if f.Extends == StandardPII {
			b.add(pii, depth+1)
		}
		b.own = own
	default:
		b.fail(0, "extends: %q: want %q or %q", f.Extends, Standard, StandardPII)
	}
	switch f.Undecodable {
	case "":
	case "withhold":
		b.set.keepUndecodable = false
	case "keep":
		b.set.keepUndecodable = true
	default:
		b.fail(0, `undecodable: %q: want "withhold" or "keep"`, f.Undecodable)
	}
	for _, t := range f.KeepTypes {
		if _, err := path.Match(t, "a/b"); err != nil || strings.Count(t, "/") != 1 {
			b.fail(0, `keep_types: %q: want a media type such as "image/*"`, t)
		}
		b.set.keepTypes = append(b.set.keepTypes, strings.ToLower(t))
	}
	for _, name := range f.KeepFields {
		b.set.keepFields[strings.ToLower(name)] = true
	}
	for i := range f.Detectors {
		b.addDetector(&f.Detectors[i])
	}
	for i := range f.Rules {
		b.addRule(&f.Rules[i])
	}
}

// strict reads one entry and refuses fields that it does not know, which
// Node.Decode does not.
func strict(n *yaml.Node, v any, known ...string) error {
	if n.Kind != yaml.MappingNode {
		return errors.New("want fields with values")
	}
	for i := 0; i < len(n.Content); i += 2 {
		if !slices.Contains(known, n.Content[i].Value) {
			return fmt.Errorf("unknown field %q: want one of %s", n.Content[i].Value, strings.Join(known, ", "))
		}
	}
	return n.Decode(v)
}

func (b *builder) addDetector(n *yaml.Node) {
	var f fileDetector
	if err := strict(n, &f, "name", "pattern", "keywords", "starts", "validate", "entropy"); err != nil {
		b.fail(n.Line, "%w", err)
		return
	}
	switch {
	case !validName(f.Name):
		b.fail(n.Line, "detector %q: a name has letters, digits, - and _", f.Name)
		return
	case b.detectors[f.Name] != nil:
		b.fail(n.Line, "detector %q is there twice", f.Name)
		return
	}
	p := pattern{text: f.Pattern, keywords: f.Keywords, starts: f.Starts, known: b.own}
	d, err := p.detector(f.Name)
	if err != nil {
		b.fail(n.Line, "detector %s: %w", f.Name, err)
		return
	}
	if f.Entropy < 0 || f.Entropy > 8 || f.Entropy > 0 && f.Validate != "" {
		b.fail(n.Line, "detector %s: entropy: %g: want bits a character, up to 8, and no validate", f.Name, f.Entropy)
		return
	}
	if f.Entropy > 0 {
		d.valid = func(v []byte) bool { return entropy(v) >= f.Entropy }
	}
	switch f.Validate {
	case "":
	case "luhn":
		d.valid = luhnValid
	case "entropy":
		d.valid = looksRandom
	default:
		b.fail(n.Line, `detector %s: validate: %q: want "luhn" or "entropy"`, f.Name, f.Validate)
		return
	}
	b.detectors[f.Name] = d
}

func validName(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == ""
}

func (b *builder) addRule(n *yaml.Node) {
	var f fileRule
	if err := strict(n, &f, "name", "scope", "in", "side", "keys", "except", "path", "what", "how", "format", "type", "shadow"); err != nil {
		b.fail(n.Line, "%w", err)
		return
	}
	before := len(b.errs)
	fail := func(format string, args ...any) {
		b.fail(n.Line, "rule %q: %w", f.Name, fmt.Errorf(format, args...))
	}
	if !validName(f.Name) {
		fail("a name has letters, digits, - and _")
	}
	if slices.ContainsFunc(b.set.rules, func(r *rule) bool { return r.name == f.Name }) {
		fail("it is there twice")
	}
	if len(b.set.rules) == maxRules {
		fail("more than %d rules", maxRules)
	}
	r := &rule{name: f.Name, shadow: f.Shadow, except: map[string]bool{}}
	if f.Scope != "" {
		q, err := query.Parse(f.Scope)
		if err != nil {
			fail("scope: %w", err)
		} else {
			r.scope = q.Matcher()
		}
	}
	for _, in := range f.In {
		p, ok := places[in]
		if !ok {
			fail("in: %q: want header, cookie, query, path, form, json, xml, multipart, text, sql or body", in)
		}
		r.in |= p
	}
	if r.in == 0 {
		r.in = everywhere
	}
	switch f.Side {
	case "", "request", "response":
		r.side = f.Side
	default:
		fail(`side: %q: want "request" or "response"`, f.Side)
	}
	b.addWhat(r, &f, fail)
	b.addHow(r, &f, fail)
	for _, name := range f.Except {
		r.except[normal(name)] = true
	}
	if len(b.errs) > before {
		return
	}
	if r.scope != nil {
		b.set.scoped = append(b.set.scoped, len(b.set.rules))
	}
	b.set.rules = append(b.set.rules, r)
	b.addKeys(len(b.set.rules)-1, r, &f, fail)
}

func (b *builder) addWhat(r *rule, f *fileRule, fail func(string, ...any)) {
	r.kind = strings.ToUpper(f.Type)
	switch {
	case f.What == "":
		if len(f.Keys) == 0 && f.Path == "" && r.in&(inSQL|inBody) == 0 {
			fail("it says neither keys, path nor what: it would take every value")
		}
	case len(f.What) > 1 && strings.HasPrefix(f.What, "/") && strings.HasSuffix(f.What, "/"):
		p := pattern{text: f.What[1 : len(f.What)-1]}
		d, err := p.detector(f.Name)
		if err != nil {
			fail("what: %w", err)
			break
		}
		r.detect = d
	default:
		if r.detect = b.detectors[f.What]; r.detect == nil {
			names := make([]string, 0, len(b.detectors))
			for name := range b.detectors {
				names = append(names, name)
			}
			slices.Sort(names)
			fail("what: no detector %q: want /a pattern/ or one of %s", f.What, strings.Join(names, ", "))
		}
	}
	if r.kind == "" {
		r.kind = strings.ToUpper(strings.ReplaceAll(f.Name, "_", "-"))
		if r.detect != nil && r.detect.kind != "" {
			r.kind = r.detect.kind
		}
	}
	if strings.Trim(r.kind, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != "" || len(r.kind) > 32 {
		fail("type: %q: want at most 32 letters, digits and -", r.kind)
	}
}

func (b *builder) addHow(r *rule, f *fileRule, fail func(string, ...any)) {
	how, arg, hasArg := strings.Cut(f.How, ":")
	switch how {
	case "", "token":
		r.act = actToken
	case "mask":
		r.act = actMask
	case "remove":
		r.act = actRemove
	case "withhold":
		r.act = actWithhold
	case "keep_last":
		r.act = actKeepLast
		n, err := strconv.Atoi(arg)
		if err != nil || n < 1 || n > 8 {
			fail("how: %q: want keep_last:1 to keep_last:8", f.How)
		}
		r.keep, hasArg = n, false
	default:
		fail("how: %q: want token, mask, remove, keep_last:N or withhold", f.How)
	}
	if hasArg {
		fail("how: %q: only keep_last takes a number", f.How)
	}
	switch f.Format {
	case "":
	case "preserve":
		r.alike = true
		if r.act != actToken {
			fail("format: preserve is for how: token")
		}
	default:
		fail(`format: %q: want "preserve"`, f.Format)
	}
}

// addKeys enters the rule's names where they are looked for.
func (b *builder) addKeys(i int, r *rule, f *fileRule, fail func(string, ...any)) {
	s := b.set
	if r.in&inSQL != 0 {
		s.sql = append(s.sql, i)
	}
	if r.in&inBody != 0 {
		s.body = append(s.body, i)
	}
	if f.Path != "" {
		if !strings.HasPrefix(f.Path, "/") || !strings.Contains(f.Path, "{") {
			fail("path: %q: want a template such as /users/{id}", f.Path)
			return
		}
		r.template = strings.Split(f.Path[1:], "/")
		s.templates = append(s.templates, i)
	}
	r.keyed = len(f.Keys) > 0
	if len(f.Keys) > maxKeys {
		fail("more than %d keys", maxKeys)
		return
	}
	for _, key := range f.Keys {
		switch {
		case key == "" || len(key) > maxKeyLen:
			fail("keys: %q: want 1 to %d characters", key, maxKeyLen)
		case key == "*":
			s.anyName = append(s.anyName, i)
		case strings.HasPrefix(key, "$"):
			p, err := parsePath(key)
			if err != nil {
				fail("keys: %w", err)
				continue
			}
			if len(r.jsonPaths) == 0 {
				s.paths = append(s.paths, i)
			}
			r.jsonPaths = append(r.jsonPaths, p)
		case strings.Contains(key, "*"):
			s.globs = append(s.globs, nameGlob{strings.Split(normal(key), "*"), i})
		default:
			n := normal(key)
			s.names[n] = append(s.names[n], i)
		}
	}
}

// parsePath reads $.user.emails[*].address into its steps; "*" is any.
func parsePath(text string) ([]string, error) {
	rest, steps := text[1:], []string(nil)
	for rest != "" {
		switch {
		case rest[0] == '.':
			end := strings.IndexAny(rest[1:], ".[")
			if end < 0 {
				end = len(rest) - 1
			}
			if end == 0 {
				return nil, fmt.Errorf("%q: a name is missing", text)
			}
			steps, rest = append(steps, rest[1:1+end]), rest[1+end:]
		case strings.HasPrefix(rest, "[*]"):
			steps, rest = append(steps, "*"), rest[3:]
		default:
			return nil, fmt.Errorf(`%q: want steps such as .name and [*]`, text)
		}
	}
	if len(steps) == 0 {
		return nil, fmt.Errorf("%q: it has no step", text)
	}
	return steps, nil
}

// normal is a name as names are compared: lower case, without what parts its
// words. "X-Api-Key", "apiKey" and "api_key" are one name.
func normal(name string) string { return string(appendNormal(nil, []byte(name))) }

func appendNormal(b, name []byte) []byte {
	for _, c := range name {
		switch {
		case 'A' <= c && c <= 'Z':
			b = append(b, c+'a'-'A')
		case c == '-' || c == '_' || c == ' ' || c == '.':
		default:
			b = append(b, c)
		}
	}
	return b
}

func (g nameGlob) match(name []byte) bool {
	first, last := g.parts[0], g.parts[len(g.parts)-1]
	if len(name) < len(first)+len(last) || string(name[:len(first)]) != first || string(name[len(name)-len(last):]) != last {
		return false
	}
	name = name[len(first) : len(name)-len(last)]
	for _, p := range g.parts[1 : len(g.parts)-1] {
		i := bytes.Index(name, []byte(p))
		if i < 0 {
			return false
		}
		name = name[i+len(p):]
	}
	return true
}
