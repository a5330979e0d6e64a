package redact

import (
	_ "embed"
	"errors"
	"fmt"

	"go.yaml.in/yaml/v3"

	"github.com/weir-capture/weir/query"
)

// Names of the rule sets that come with the program.
const (
	Standard = "standard"
	// StandardPII is Standard with e-mail addresses and telephone numbers.
	StandardPII = "standard+pii"
)

//go:embed standard.yaml
var standard []byte

//go:embed pii.yaml
var pii []byte

// gitleaks are the shapes of keys that others collected; it is generated.
//
//go:embed gitleaks.yaml
var gitleaks []byte

// Bounds of a rule set.
const (
	maxRules    = 512
	maxKeys     = 512
	maxKeyLen   = 128
	maxFileSize = 1 << 20
	// maxCharacters keeps the scanner's states within 16 bits.
	maxCharacters = 60_000
)

// Set is a rule set, compiled. It does not change.
type Set struct {
	name  string
	rules []*rule
	// keepUndecodable: bodies that nobody can look into are kept.
	keepUndecodable bool
	// keepTypes are media types, "image/*", that are kept unread.
	keepTypes []string
	// keepFields are the header fields, in lower case, that stay of a message
	// that is withheld.
	keepFields map[string]bool
	// names finds the rules that go by name; globs those whose names have
	// patterns.
	names   map[string][]int
	globs   []nameGlob
	anyName []int // rules that take every name
	paths   []int // rules with JSON paths
	// templates are rules for path segments.
	templates []int
	// scoped are rules that are not for every pair.
	scoped []int
	// sql are rules for SQL literals; body those for whole bodies.
	sql, body []int
	scan      *scanner
}

// Name is what the set is called.
func (s *Set) Name() string { return s.name }

// place is where a value stands.
type place uint16

const (
	inHeader place = 1 << iota
	inCookie
	inQuery
	inPath
	inForm
	inJSON
	inXML
	inMultipart
	inText
	inSQL
	inBody

	// everywhere is where rules look that name no place.
	everywhere = inHeader | inCookie | inQuery | inPath | inForm | inJSON | inXML | inMultipart | inText
)

var places = map[string]place{
	"header": inHeader, "cookie": inCookie, "query": inQuery, "path": inPath, "form": inForm, "json": inJSON,
	"xml": inXML, "multipart": inMultipart, "text": inText, "sql": inSQL, "body": inBody,
}

type action int

const (
	actToken action = iota
	actMask
	actRemove
	actKeepLast
	actWithhold
)

// rule is one rule, compiled.
type rule struct {
	name   string
	kind   string // the type of its tokens
	scope  *query.Matcher
	in     place
	side   string // "request", "response", or empty for both
	act    action
	keep   int // of actKeepLast
	alike  bool
	shadow bool
	// keyed: it goes by names or paths.
	keyed bool
	// detect finds what to replace within a value; nil: the whole value.
	detect *detector
	except map[string]bool
	// jsonPaths and template are of rules that go by path.
	jsonPaths [][]string
	template  []string
}

// nameGlob is a normalised name with any run of characters between its parts.
type nameGlob struct {
	parts []string
	rule  int
}

// file is a rule set as it is written.
type file struct {
	Extends     string      `yaml:"extends"`
	Undecodable string      `yaml:"undecodable"`
	KeepTypes   []string    `yaml:"keep_types"`
	KeepFields  []string    `yaml:"keep_fields"`
	Detectors   []yaml.Node `yaml:"detectors"`
	Rules       []yaml.Node `yaml:"rules"`
}

type fileRule struct {
	Name   string   `yaml:"name"`
	Scope  string   `yaml:"scope"`
	In     []string `yaml:"in"`
	Side   string   `yaml:"side"`
	Keys   []string `yaml:"keys"`
	Except []string `yaml:"except"`
	Path   string   `yaml:"path"`
	What   string   `yaml:"what"`
	How    string   `yaml:"how"`
	Format string   `yaml:"format"`
	Type   string   `yaml:"type"`
	Shadow bool     `yaml:"shadow"`
}

type fileDetector struct {
	Name     string   `yaml:"name"`
	Pattern  string   `yaml:"pattern"`
	Keywords []string `yaml:"keywords"`
	Starts   bool     `yaml:"starts"`
	Validate string   `yaml:"validate"`
	Entropy  float64  `yaml:"entropy"`
}

// Named gives a set that comes with the program; false for a name that none
// has.
func Named(name string) (*Set, bool) {
	if name != Standard && name != StandardPII {
		return nil, false
	}
	s, err := Parse(name, []byte("extends: "+name+"\n"))
	if err != nil {
		panic(err) // they are tested
	}
	return s, true
}

// Parse reads a rule set (RULES.md). All that is wrong with it is said at
// once, each with its line.
func Parse(name string, text []byte) (*Set, error) {
	if len(text) > maxFileSize {
		return nil, fmt.Errorf("%d bytes: at most %d", len(text), maxFileSize)
	}
	b := builder{set: &Set{name: name, keepFields: map[string]bool{}, names: map[string][]int{}}, detectors: builtin()}
	b.add(text, 0)
	if n := b.set.characters(); n > maxCharacters {
		b.fail(0, "its names and keywords have %d characters in all: at most %d", n, maxCharacters)
	}
	if len(b.errs) > 0 {
		return nil, errors.Join(b.errs...)
	}
	b.set.scan = newScanner(b.set)
	return b.set, nil
}
