package endpoint

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// Rule names the endpoint of the paths that fit it.
type Rule struct {
	// App is whose paths it is about; "*" for everybody's.
	App string
	// Template has the segments of the path; one in braces stands for any.
	Template string
	segments []string
}

// Bounds of a file of rules.
const (
	maxRules    = 10_000
	maxRuleLine = 4 << 10
)

// ParseRules reads rules, one a line: an app (or *), spaces, and a template:
//
//	# whose       what
//	shop          /users/{id}/orders/{order}
//	*             /healthz
//
// The first rule that fits a path names it. Lines that are empty or begin with #
// say nothing. An error names the line.
func ParseRules(r io.Reader) ([]Rule, error) {
	var rules []Rule
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxRuleLine)
	n := 0
	fail := func(format string, args ...any) error {
		return fmt.Errorf("line %d: "+format, append([]any{n}, args...)...)
	}
	for lines.Scan() {
		n++
		f := strings.Fields(lines.Text())
		switch {
		case len(f) == 0 || strings.HasPrefix(f[0], "#"):
			continue
		case len(f) != 2:
			return nil, fail("%d words; a rule is an app, or *, and a template", len(f))
		case !strings.HasPrefix(f[1], "/"):
			return nil, fail("template %q does not begin with a slash", f[1])
		case len(rules) == maxRules:
			return nil, fail("more than %d rules", maxRules)
		}
		rule := Rule{App: f[0], Template: f[1], segments: strings.Split(f[1], "/")[1:]}
		for _, s := range rule.segments {
			open, shut := strings.Count(s, "{"), strings.Count(s, "}")
			if (open != 0 || shut != 0) && !isPlaceholder(s) {
				return nil, fail("segment %q: braces go around a whole segment, as in {id}", s)
			}
		}
		rules = append(rules, rule)
	}
	if err := lines.Err(); err != nil {
		n++
		return nil, fail("%w", err)
	}
	return rules, nil
}

func isPlaceholder(s string) bool {
	return len(s) > 2 && s[0] == '{' && s[len(s)-1] == '}' && strings.Count(s, "{") == 1 && strings.Count(s, "}") == 1
}

// fits reports whether the rule is about a path.
func (r *Rule) fits(app, path string) bool {
	if r.App != "*" && r.App != app || path == "" || path[0] != '/' {
		return false
	}
	rest, more := path[1:], true
	for _, want := range r.segments {
		if !more {
			return false
		}
		var s string
		s, rest, more = strings.Cut(rest, "/")
		if s != want && (s == "" || !isPlaceholder(want)) {
			return false
		}
	}
	return !more
}
