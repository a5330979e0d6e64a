package protocoltest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Corpora returns the folder of test data that others made: $CORPORA_DIR, by
// default the folder shared/corpora beside the repository. Where it is missing
// the test says so, and fails in CI; elsewhere it ends without a verdict, our
// own conversations covering the same cases. root leads from the package under
// test to the repository's root.
func Corpora(t *testing.T, root, folder string) string {
	t.Helper()
	dir := os.Getenv("CORPORA_DIR")
	if dir == "" {
		dir = filepath.Join(root, "..", "shared", "corpora")
	}
	dir = filepath.Join(dir, folder)
	if _, err := os.Stat(dir); err != nil {
		text := fmt.Sprintf("CORPORA MISSING: %s: nothing was compared with %s; set CORPORA_DIR (%v)", t.Name(), folder, err)
		if os.Getenv("CI") == "true" {
			t.Fatal(text)
		}
		// go test shows a skipped test only with -v; this is seen in more ways.
		fmt.Fprintln(os.Stderr, text)
		t.Skip(text)
	}
	return dir
}

// Differences is a table of the cases in which we differ from what others
// expect, and why: lines of "case: reason". A case that differs and is not in
// the table fails the test, and so does one that is and does not.
type Differences struct {
	t       *testing.T
	file    string
	reasons map[string]string
	seen    map[string]bool
}

// LoadDifferences reads the table in file.
func LoadDifferences(t *testing.T, file string) *Differences {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("read differences: %v", err)
	}
	d := &Differences{t: t, file: file, reasons: map[string]string{}, seen: map[string]bool{}}
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, reason, ok := strings.Cut(line, ": ")
		if !ok || strings.TrimSpace(reason) == "" {
			t.Fatalf("%s:%d: a difference without a reason", file, i+1)
		}
		if _, twice := d.reasons[name]; twice {
			t.Fatalf("%s:%d: %s is there twice", file, i+1, name)
		}
		d.reasons[name] = reason
	}
	return d
}

// Check takes what differs in a case; nothing when all is equal.
func (d *Differences) Check(name string, differs []string) {
	d.t.Helper()
	if d.seen[name] {
		d.t.Errorf("case %s is there twice", name)
	}
	d.seen[name] = true
	reason, listed := d.reasons[name]
	switch {
	case len(differs) > 0 && !listed:
		d.t.Errorf("%s differs, and %s does not say why:\n  %s", name, d.file, strings.Join(differs, "\n  "))
	case len(differs) == 0 && listed:
		d.t.Errorf("%s does not differ any more; take it out of %s", name, d.file)
	case listed:
		d.t.Logf("%s differs: %s\n  %s", name, reason, strings.Join(differs, "\n  "))
	}
}

// Done complains about lines for cases that do not exist, and says how many
// cases there were.
func (d *Differences) Done() {
	d.t.Helper()
	var unknown []string
	for name := range d.reasons {
		if !d.seen[name] {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	for _, name := range unknown {
		d.t.Errorf("%s names %s, which does not exist", d.file, name)
	}
	if len(d.seen) == 0 {
		d.t.Error("there were no cases at all")
	}
	d.t.Logf("%d cases, %d differ for the reasons in %s", len(d.seen), len(d.reasons), d.file)
}
