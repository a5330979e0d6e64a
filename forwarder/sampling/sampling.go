// Package sampling decides how many connections the proxies of each app keep,
// by a file that a person may change at any time (SAMPLE_FILE).
//
// A line of the file is an app and a share: "checkout 1/10" keeps one
// connection in ten, "* 1/4" is for the apps that have no line. Empty lines
// and what follows a # at the beginning of a line or after a space mean
// nothing. Apps without a line do as their own environment says.
package sampling

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/weir-capture/weir/internal/filewatch"
)

const (
	// MaxKeepOneIn is the smallest share that makes sense.
	MaxKeepOneIn = 1_000_000

	others = "*"

	// maxRules bounds what goes to the analyzer each second.
	maxRules     = 1_000
	maxFileBytes = 256 << 10
	maxNameLen   = 1024
)

// Rules are the shares by app. They do not change and may be used by many
// goroutines at once. nil Rules are empty.
type Rules struct {
	byApp map[string]uint32
}

// LineError is a mistake in a file of rules.
type LineError struct {
	Line int // counted from 1
	Err  error
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }
func (e *LineError) Unwrap() error { return e.Err }

// Parse reads a file of rules. Its errors about one line are LineErrors.
func Parse(b []byte) (*Rules, error) {
	if len(b) > maxFileBytes {
		return nil, fmt.Errorf("more than %d bytes", maxFileBytes)
	}
	r := &Rules{byApp: map[string]uint32{}}
	n := 0
	for raw := range bytes.Lines(b) {
		n++
		if err := r.addLine(string(raw)); err != nil {
			return nil, &LineError{n, err}
		}
	}
	return r, nil
}

func (r *Rules) addLine(line string) error {
	if !utf8.ValidString(line) {
		return errors.New("not UTF-8")
	}
	line = strings.TrimSpace(withoutComment(line))
	if line == "" {
		return nil
	}
	// The share is the last word: names of apps may have spaces.
	i := strings.LastIndexAny(line, " \t")
	if i < 0 {
		return errors.New(`want "app 1/N", or "* 1/N" for all others`)
	}
	app, share := strings.TrimSpace(line[:i]), line[i+1:]
	keep, err := parseShare(share)
	if err != nil {
		return err
	}
	switch _, twice := r.byApp[app]; {
	case twice:
		return fmt.Errorf("%q is there twice", app)
	case len(app) > maxNameLen:
		return fmt.Errorf("a name of %d bytes, at most %d", len(app), maxNameLen)
	case len(r.byApp) == maxRules:
		return fmt.Errorf("more than %d apps", maxRules)
	}
	r.byApp[app] = keep
	return nil
}

func withoutComment(line string) string {
	for i := range len(line) {
		if line[i] == '#' && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t') {
			return line[:i]
		}
	}
	return line
}

func parseShare(s string) (uint32, error) {
	n, ok := strings.CutPrefix(s, "1/")
	keep, err := strconv.ParseUint(n, 10, 32)
	if !ok || err != nil || keep < 1 || keep > MaxKeepOneIn {
		return 0, fmt.Errorf("%q is not 1/N with N from 1 to %d", s, MaxKeepOneIn)
	}
	return uint32(keep), nil
}

// KeepOneIn is what proxies of an app are told; 0 leaves it to them.
func (r *Rules) KeepOneIn(app string) uint32 {
	if r == nil {
		return 0
	}
	if keep, ok := r.byApp[app]; ok {
		return keep
	}
	return r.byApp[others]
}

// All lists the rules by app; "*" is for the others. The map is the caller's.
func (r *Rules) All() map[string]uint32 {
	if r == nil {
		return nil
	}
	return maps.Clone(r.byApp)
}

// Load reads a file of rules.
func Load(path string) (*Rules, error) {
	b, err := filewatch.Read(path, maxFileBytes)
	if err != nil {
		return nil, err
	}
	return Parse(b)
}
