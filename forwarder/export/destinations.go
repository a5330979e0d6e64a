package export

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/weir-capture/weir/daemon"
	"github.com/weir-capture/weir/forwarder/filter"
	"github.com/weir-capture/weir/internal/access"
)

// Type says what a destination is.
type Type string

// The types.
const (
	// Analyzer is another analyzer, at Addr.
	Analyzer Type = "analyzer"
	// File is a file of JSON lines, at Path.
	File Type = "file"
)

// Defaults and limits of destinations.
const (
	// MaxDestinations bounds what one forwarder exports to.
	MaxDestinations = 16
	// DefaultMaxBytes and DefaultKeep are when a file is rotated, and how many
	// rotated ones are kept.
	DefaultMaxBytes = 256 << 20
	DefaultKeep     = 8

	minMaxBytes = 64 << 10
	maxKeep     = 10_000
	maxNameLen  = 64
	maxMistakes = 20
	// maxFileBytes bounds the file that names destinations.
	maxFileBytes = 1 << 20
)

// Destination is one entry of EXPORTERS.
type Destination struct {
	// Name is the cursor's in the spool: whoever changes it begins again.
	Name string
	Type Type
	// Addr is an analyzer's "host:port".
	Addr string
	// Path is the file's, absolute.
	Path string
	// MaxBytes and Keep are a file's: it is rotated before it gets longer than
	// MaxBytes, and Keep rotated files are kept.
	MaxBytes int64
	Keep     int
	// FilterRule is what filter.Load takes; empty means none.
	FilterRule string
	// Access is what is shown to an analyzer, and how it is verified.
	Access access.Config
}

// Load reads the file that EXPORTERS names: YAML, or JSON, with one list,
// "exporters". The error has a line for each mistake, with its place in the
// file.
func Load(path string) ([]Destination, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read exporters: %w", err)
	}
	if !st.Mode().IsRegular() || st.Size() > maxFileBytes {
		return nil, fmt.Errorf("read exporters: %s is no regular file of at most %d bytes", path, maxFileBytes)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read exporters: %w", err)
	}
	return Parse(path, b)
}

// Parse is Load of what a file holds; name is for errors.
func Parse(name string, b []byte) ([]Destination, error) {
	p := &parser{name: name}
	p.document(b)
	if len(p.mistakes) > maxMistakes {
		p.mistakes = append(p.mistakes[:maxMistakes], fmt.Errorf("%s: and %d more", name, len(p.mistakes)-maxMistakes))
	}
	if err := errors.Join(p.mistakes...); err != nil {
		return nil, err
	}
	return p.found, nil
}

type parser struct {
	name     string
	mistakes []error
	found    []Destination
	names    map[string]int // line
	paths    map[string]int
	addrs    map[string]int
}

func (p *parser) fail(line int, format string, args ...any) {
	p.mistakes = append(p.mistakes, fmt.Errorf("%s:%d: %s", p.name, line, fmt.Sprintf(format, args...)))
}

func (p *parser) document(b []byte) {
	p.names, p.paths, p.addrs = map[string]int{}, map[string]int{}, map[string]int{}
	dec := yaml.NewDecoder(bytes.NewReader(b))
	var doc, second yaml.Node
	err := dec.Decode(&doc)
	switch {
	case errors.Is(err, io.EOF):
		p.fail(1, "it is empty: it needs a list, exporters")
		return
	case err != nil:
		line, text := 1, strings.TrimPrefix(err.Error(), "yaml: ")
		if n, rest, ok := strings.Cut(strings.TrimPrefix(text, "line "), ": "); ok {
			if at, err := strconv.Atoi(n); err == nil {
				line, text = at, rest
			}
		}
		p.fail(line, "%s", text)
		return
	}
	if err := dec.Decode(&second); !errors.Is(err, io.EOF) {
		p.fail(max(second.Line, 1), "there is more than one document")
		return
	}
	root := doc.Content[0]
	list := p.fields(root, "the file", []string{"exporters"}, nil)["exporters"]
	switch {
	case len(p.mistakes) > 0:
	case list == nil:
		p.fail(root.Line, "it needs a list, exporters")
	case list.Kind != yaml.SequenceNode || len(list.Content) == 0:
		p.fail(list.Line, "exporters is a list with an entry for each destination")
	case len(list.Content) > MaxDestinations:
		p.fail(list.Line, "there are %d exporters, at most %d can be", len(list.Content), MaxDestinations)
	default:
		for _, entry := range list.Content {
			p.destination(entry)
		}
	}
}

// Keys of a destination, by type, and those that this version does not have.
var (
	keys = map[Type][]string{
		Analyzer: {"name", "type", "addr", "filter", "token_file", "tls", "ca_file", "cert_file", "key_file"},
		File:     {"name", "type", "path", "filter", "max_bytes", "keep"},
	}
	later = map[string]string{
		"rules": "redaction of its own",
		"token": "a token in this file, which is read and copied more freely than one with nothing else (name that as token_file)",
	}
)

// fields are the values of a mapping by key.
func (p *parser) fields(n *yaml.Node, what string, known []string, later map[string]string) map[string]*yaml.Node {
	fields := map[string]*yaml.Node{}
	if n.Kind != yaml.MappingNode {
		p.fail(n.Line, "%s has keys and values: %s", what, strings.Join(known, ", "))
		return fields
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch why, isLater := later[key.Value]; {
		case isLater:
			p.fail(key.Line, "%s: a destination cannot have %s in this version: leave it out", key.Value, why)
		case !slices.Contains(known, key.Value):
			p.fail(key.Line, "%s has no key %q; its keys are %s", what, key.Value, strings.Join(known, ", "))
		case fields[key.Value] != nil:
			p.fail(key.Line, "%s is there twice", key.Value)
		default:
			fields[key.Value] = value
		}
	}
	return fields
}

func (p *parser) destination(n *yaml.Node) {
	d := Destination{MaxBytes: DefaultMaxBytes, Keep: DefaultKeep}
	// The type first: it says which keys there are.
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == "type" {
				d.Type = Type(n.Content[i+1].Value)
				if keys[d.Type] == nil {
					p.fail(n.Content[i+1].Line, "type %q: types are %s and %s", d.Type, Analyzer, File)
					return
				}
			}
		}
		if d.Type == "" {
			p.fail(n.Line, "a destination needs a type: %s or %s", Analyzer, File)
			return
		}
	}
	what := "a destination"
	if d.Type != "" {
		what += " of type " + string(d.Type)
	}
	known := keys[d.Type]
	if known == nil {
		known = keys[File]
	}
	f := p.fields(n, what, known, later)
	if n.Kind != yaml.MappingNode {
		return
	}
	if v, ok := p.text(n, f, "name", true); ok {
		if d.Name = v; !validName(v) {
			p.fail(f["name"].Line, "name %q: want 1 to %d letters, digits, - and _", v, maxNameLen)
		} else if line := p.names[v]; line > 0 {
			p.fail(f["name"].Line, "name %q is in line %d too", v, line)
		}
		p.names[v] = f["name"].Line
	}
	if v, ok := p.text(n, f, "filter", false); ok {
		if d.FilterRule = v; v == "" {
			p.fail(f["filter"].Line, "filter is empty: leave it out to take everything")
		} else if _, err := filter.Load(v); err != nil {
			p.fail(f["filter"].Line, "filter: %v", err)
		}
	}
	if v, ok := p.text(n, f, "addr", d.Type == Analyzer); ok {
		if d.Addr = v; !validAddr(v) {
			p.fail(f["addr"].Line, "addr %q: want host:port, the port 1 to 65535", v)
		} else if line := p.addrs[v]; line > 0 { // an analyzer takes a spool by one stream at a time
			p.fail(f["addr"].Line, "addr %q is in line %d too: each destination needs an analyzer of its own", v, line)
		}
		p.addrs[v] = f["addr"].Line
	}
	if d.Type == Analyzer {
		p.access(n, f, &d)
	}
	if v, ok := p.text(n, f, "path", d.Type == File); ok {
		d.Path = p.path(f["path"].Line, v)
	}
	if v, ok := p.text(n, f, "max_bytes", false); ok {
		if size, ok := daemon.ParseSize(v); ok && size >= minMaxBytes {
			d.MaxBytes = size
		} else {
			p.fail(f["max_bytes"].Line, "max_bytes %q: want a size of at least 64KiB, such as 256MiB", v)
		}
	}
	if v, ok := p.text(n, f, "keep", false); ok {
		if count, err := strconv.Atoi(v); err == nil && count >= 0 && count <= maxKeep {
			d.Keep = count
		} else {
			p.fail(f["keep"].Line, "keep %q: want the number of rotated files that stay, 0 to %d", v, maxKeep)
		}
	}
	p.found = append(p.found, d)
}

// text is the value of a key; false when there is none.
func (p *parser) text(n *yaml.Node, fields map[string]*yaml.Node, key string, needed bool) (string, bool) {
	v := fields[key]
	switch {
	case v == nil && needed:
		p.fail(n.Line, "a destination of this type needs %s", key)
	case v == nil:
	case v.Kind == yaml.AliasNode:
		p.fail(v.Line, "%s: write the value out, aliases are not followed", key)
	case v.Kind != yaml.ScalarNode || v.Tag == "!!null":
		p.fail(v.Line, "%s wants one value", key)
	default:
		return v.Value, true
	}
	return "", false
}

func (p *parser) path(line int, v string) string {
	path, err := filepath.Abs(v)
	switch base := filepath.Base(v); {
	case v == "" || err != nil || strings.ContainsRune(v, 0) || strings.HasSuffix(v, "/") || base == "." || base == "..":
		p.fail(line, "path %q: want the path of a file", v)
	case p.paths[path] > 0:
		p.fail(line, "path %q is in line %d too: each destination needs a file of its own", v, p.paths[path])
	case p.besides(path) != "":
		at := p.besides(path)
		p.fail(line, "path %q: what belongs to %s of line %d has such a name: take another", v, at, p.paths[at])
	default:
		if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
			p.fail(line, "path %q: that is there and no regular file", v)
		}
	}
	p.paths[path] = line
	return path
}

// besides is the path of another destination that keeps something under this
// name, or something of which would be kept under that.
func (p *parser) besides(path string) string {
	for _, other := range slices.Sorted(maps.Keys(p.paths)) {
		if keepsBeside(other, path) || keepsBeside(path, other) {
			return other
		}
	}
	return ""
}

func validName(s string) bool {
	return s != "" && len(s) <= maxNameLen && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == ""
}

func validAddr(s string) bool {
	host, port, err := net.SplitHostPort(s)
	n, perr := strconv.Atoi(port)
	return err == nil && perr == nil && host != "" && n > 0 && n <= 65535 && !strings.ContainsAny(s, " \t\n\x00/@")
}
