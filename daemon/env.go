package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/weir-capture/weir/internal/credentials"
	"github.com/weir-capture/weir/internal/spelling"
)

// Env reads a program's variables and collects what is wrong with them, so
// that one run names every mistake. A variable that is set to the empty
// string counts as not set: env-files write it so.
//
// Every method returns the zero value when it records a mistake; the caller
// looks at Err once, at the end.
type Env struct {
	lookup func(string) (string, bool)
	errs   []error
	// asked are the variables that the program knows.
	asked map[string]bool
}

// NewEnv reads variables with lookup (os.LookupEnv in a program).
func NewEnv(lookup func(string) (string, bool)) *Env {
	return &Env{lookup: lookup, asked: map[string]bool{}}
}

// VarError says which variable is wrong, what it holds and what it may hold.
type VarError struct {
	Name string
	// Value is what it holds; not shown for secrets, empty when not set. What
	// may be credentials in it, or in Problem, is not shown either.
	Value string
	// Want is what it may hold.
	Want string
	// Problem is set when the value is neither missing nor of the wrong form.
	Problem string
}

func (e *VarError) Error() string {
	value := credentials.Hide(e.Value)
	switch {
	case e.Problem != "":
		return fmt.Sprintf("%s=%q: %s; want %s", e.Name, value, credentials.Hide(e.Problem), e.Want)
	case e.Value == "":
		return fmt.Sprintf("%s is not set; want %s", e.Name, e.Want)
	default:
		return fmt.Sprintf("%s=%q is not valid; want %s", e.Name, value, e.Want)
	}
}

// Slip is a variable that nobody asked for, and the one that was probably meant.
type Slip struct{ Name, Meant string }

// Slips are those of an environment ("NAME=value" each, as of os.Environ) that
// differ from a variable that was asked for by no more than a slip of the hand:
// one that says how to redact or who may enter must not go unheard. They are no
// mistakes, since an environment belongs to others too: names that are short,
// empty variables and those that differ in an underscore only are left alone.
// Call it when everything has been read.
func (e *Env) Slips(environ []string) []Slip {
	var slips []Slip
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if e.asked[name] || len(name) < 8 || strings.TrimSpace(value) == "" {
			continue
		}
		best, nearest := "", 2 // more than one slip is another name
		if len(name) >= 12 {
			nearest = 3
		}
		for _, known := range slices.Sorted(maps.Keys(e.asked)) {
			same := strings.ReplaceAll(known, "_", "") == strings.ReplaceAll(name, "_", "") && strings.Contains(known, "_") != strings.Contains(name, "_")
			if d := spelling.Distance(name, known); d < nearest && !same {
				best, nearest = known, d
			}
		}
		if best != "" {
			slips = append(slips, Slip{name, best})
		}
	}
	slices.SortFunc(slips, func(a, b Slip) int { return strings.Compare(a.Name, b.Name) })
	return slips
}

// Err is every mistake found so far, one a line, or nil.
func (e *Env) Err() error { return errors.Join(e.errs...) }

// Mistakes is how many were found so far.
func (e *Env) Mistakes() int { return len(e.errs) }

// Fail records a mistake that only the caller can see, such as two variables
// that do not go together.
func (e *Env) Fail(name, problem, want string) {
	v, _ := e.get(name)
	e.errs = append(e.errs, &VarError{Name: name, Value: v, Problem: problem, Want: want})
}

// FailSecret is Fail for a variable that Secret reads: its value is not shown.
func (e *Env) FailSecret(name, problem, want string) {
	if _, direct := e.get(name); !direct {
		name += "_FILE"
	}
	e.errs = append(e.errs, &VarError{Name: name, Value: "(not shown)", Problem: problem, Want: want})
}

func (e *Env) get(name string) (string, bool) {
	e.asked[name] = true
	v, ok := e.lookup(name)
	v = strings.TrimSpace(v)
	return v, ok && v != ""
}

func (e *Env) bad(name, value, want string) {
	e.errs = append(e.errs, &VarError{Name: name, Value: value, Want: want})
}

// Required is a variable that must be set. want completes "want …".
func (e *Env) Required(name, want string) string {
	v, ok := e.get(name)
	if !ok {
		e.bad(name, "", want)
	}
	return e.text(name, v)
}

// String is a variable with a default.
func (e *Env) String(name, def string) string {
	if v, ok := e.get(name); ok {
		return e.text(name, v)
	}
	return def
}

// text refuses what no message to another program could carry.
func (e *Env) text(name, v string) string {
	if !utf8.ValidString(v) {
		e.Fail(name, "not UTF-8", "text in UTF-8")
		return ""
	}
	return v
}

// OneOf is one of a few words. An empty def means that it must be set. later
// holds words that are known and not supported yet: they are refused by name.
func (e *Env) OneOf(name, def string, words []string, later ...string) string {
	want := strings.Join(words, " or ")
	v, ok := e.get(name)
	if !ok {
		if def == "" {
			e.bad(name, "", want)
		}
		return def
	}
	for _, w := range words {
		if v == w {
			return v
		}
	}
	for _, w := range later {
		if v == w {
			e.Fail(name, "not supported by this version", want)
			return ""
		}
	}
	e.bad(name, v, want)
	return ""
}

// Unsupported refuses variables of the contract that this build does not
// support yet: ignoring one would pretend.
func (e *Env) Unsupported(names ...string) {
	for _, n := range names {
		if _, ok := e.get(n); ok {
			e.Fail(n, "not supported by this version", "it unset")
		}
	}
}

// UnsupportedSecrets is Unsupported for variables whose value is not to be
// shown, and the files that may hold them.
func (e *Env) UnsupportedSecrets(names ...string) {
	for _, n := range names {
		if _, ok := e.get(n); ok {
			e.errs = append(e.errs, &VarError{Name: n, Value: "(not shown)", Problem: "not supported by this version", Want: "it unset"})
		}
		e.Unsupported(n + "_FILE")
	}
}

// Bool takes true and false (and 1, 0, on, off, yes, no).
func (e *Env) Bool(name string, def bool) bool {
	v, ok := e.get(name)
	if !ok {
		return def
	}
	switch strings.ToLower(v) {
	case "true", "1", "on", "yes":
		return true
	case "false", "0", "off", "no":
		return false
	}
	e.bad(name, v, "true or false")
	return false
}

// Port takes 1 to 65535, and 0, "pick a free one", for tests. A negative def
// means that it must be set.
func (e *Env) Port(name string, def int) int {
	const want = "a port, 1 to 65535"
	v, ok := e.get(name)
	if !ok {
		if def < 0 {
			e.bad(name, "", want)
			return 0
		}
		return def
	}
	p, err := strconv.ParseUint(v, 10, 16)
	if err != nil {
		e.bad(name, v, want)
		return 0
	}
	return int(p)
}

// Addr takes "host:port", the host without credentials: the address is logged.
// An empty def means that it must be set; pass AddrOptional to leave it empty.
func (e *Env) Addr(name, def string) string {
	const want = `"host:port"`
	v, ok := e.get(name)
	if !ok {
		if def == "" {
			e.bad(name, "", want)
		}
		return strings.TrimPrefix(def, AddrOptional)
	}
	host, port, err := net.SplitHostPort(v)
	if err == nil && host != "" && !strings.Contains(host, "@") && utf8.ValidString(host) {
		if _, err = strconv.ParseUint(port, 10, 16); err == nil {
			return v
		}
	}
	e.bad(name, v, want)
	return ""
}

// AddrOrOff takes "host:port" with a default. Set and empty, or "off", means
// none: it is the one kind of variable that says something by being empty.
func (e *Env) AddrOrOff(name, def string) string {
	if v, set := e.lookup(name); set {
		if v = strings.TrimSpace(v); v == "" || strings.EqualFold(v, "off") {
			return ""
		}
	}
	return e.Addr(name, def)
}

// AddrOptional as Addr's default means: may be left empty.
const AddrOptional = "-"

// Size takes bytes with an optional KiB, MiB or GiB.
func (e *Env) Size(name string, def int64) int64 {
	v, ok := e.get(name)
	if !ok {
		return def
	}
	if n, ok := ParseSize(v); ok {
		return n
	}
	e.bad(name, v, "a size such as 512KiB, 64MiB or 2GiB")
	return 0
}

// ParseSize reads "64MiB".
func ParseSize(s string) (int64, bool) {
	unit := int64(1)
	for _, u := range []struct {
		suffix string
		n      int64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"B", 1}} {
		if t, ok := strings.CutSuffix(s, u.suffix); ok {
			s, unit = strings.TrimSpace(t), u.n
			break
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/unit {
		return 0, false
	}
	return n * unit, true
}

// Duration takes Go's syntax, and whole days ("7d").
func (e *Env) Duration(name string, def time.Duration) time.Duration {
	v, ok := e.get(name)
	if !ok {
		return def
	}
	d, err := ParseDuration(v)
	if err != nil || d < 0 {
		e.bad(name, v, "a duration such as 500ms, 25s or 5m")
		return 0
	}
	return d
}

// ParseDuration is time.ParseDuration with days.
func ParseDuration(s string) (time.Duration, error) {
	if d, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseInt(d, 10, 32)
		if err != nil || n > int64(math.MaxInt64/(24*time.Hour)) {
			return 0, fmt.Errorf("parse duration %q: want days such as 7d", s)
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	return time.ParseDuration(s)
}

// Secret is a variable that may also be given as a file: NAME_FILE. Its value
// never appears in an error.
func (e *Env) Secret(name string) string {
	v, direct := e.get(name)
	file, indirect := e.get(name + "_FILE")
	switch {
	case direct && indirect:
		e.errs = append(e.errs, &VarError{Name: name + "_FILE", Value: file, Problem: name + " is set too", Want: "one of the two"})
		return ""
	case indirect:
		b, err := os.ReadFile(file)
		if err != nil {
			problem := err.Error()
			if pe, ok := errors.AsType[*fs.PathError](err); ok {
				problem = pe.Err.Error()
			}
			e.errs = append(e.errs, &VarError{Name: name + "_FILE", Value: file, Problem: problem, Want: "a file that can be read"})
			return ""
		}
		return strings.TrimSpace(string(b))
	}
	return v
}

// LogLevel reads LOG_LEVEL.
func (e *Env) LogLevel() slog.Level {
	switch e.OneOf("LOG_LEVEL", "info", []string{"debug", "info", "warn", "error"}) {
	case "debug":
		return slog.LevelDebug
	case "warn":
		return slog.LevelWarn
	case "error":
		return slog.LevelError
	}
	return slog.LevelInfo
}
