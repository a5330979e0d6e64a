package export_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-capture/weir/forwarder/export"
)

func TestParse(t *testing.T) {
	want := []export.Destination{
		{Name: "archive", Type: export.File, Path: "/var/lib/weir/archive.jsonl", MaxBytes: 64 << 20, Keep: 3, FilterRule: "standard"},
		{Name: "second", Type: export.Analyzer, Addr: "[::1]:4191", MaxBytes: export.DefaultMaxBytes, Keep: export.DefaultKeep, FilterRule: "status:5xx"},
		{Name: "plain", Type: export.File, Path: "/tmp/plain.jsonl", MaxBytes: export.DefaultMaxBytes, Keep: export.DefaultKeep},
	}
	for name, text := range map[string]string{
		"yaml": `
# more destinations
exporters:
  - name: archive
    type: file
    path: /var/lib/weir/archive.jsonl
    max_bytes: 64MiB
    keep: 3
    filter: standard
  - {name: second, type: analyzer, addr: "[::1]:4191", filter: "status:5xx"}
  - type: file
    path: /tmp/plain.jsonl
    name: plain
`,
		"json": "{\n\t\"exporters\": [\n\t\t{\"name\": \"archive\", \"type\": \"file\", \"path\": \"/var/lib/weir/archive.jsonl\", \"max_bytes\": \"64MiB\", \"keep\": 3, \"filter\": \"standard\"},\n" +
			"\t\t{\"name\": \"second\", \"type\": \"analyzer\", \"addr\": \"[::1]:4191\", \"filter\": \"status:5xx\"},\n\t\t{\"name\": \"plain\", \"type\": \"file\", \"path\": \"/tmp/plain.jsonl\"}\n\t]\n}\n",
	} {
		got, err := export.Parse(name, []byte(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(got) != len(want) {
			t.Fatalf("%s: %+v", name, got)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%s: %+v, want %+v", name, got[i], want[i])
			}
		}
	}
}

func TestMistakesAreNamedWithTheirLine(t *testing.T) {
	for text, want := range map[string][]string{
		"":                             {"f:1: it is empty"},
		"exporters: []":                {"f:1: exporters is a list"},
		"exporters: {a: 1}":            {"f:1: exporters is a list"},
		"- name: a":                    {"f:1: the file has keys and values: exporters"},
		"exports:\n  - name: a":        {`f:1: the file has no key "exports"; its keys are exporters`},
		"exporters:\n  - a\n  - b: 1":  {"f:2: a destination has keys", "f:3: a destination needs a type: analyzer or file"},
		"exporters: [{type: s3}]":      {`f:1: type "s3": types are analyzer and file`},
		"exporters:\n - name: a\n\tb:": {"f:2: found a tab"},
		"exporters: [{name: a, type: file, path: /x}]\n---\nexporters: []": {"more than one document"},
		"exporters:\n  - name: a\n    type: file\n    path: /x\n    pathh: /y\n    rules: standard\n    addr: h:1": {
			`f:5: a destination of type file has no key "pathh"; its keys are name, type, path, filter, max_bytes, keep`,
			"f:6: rules: a destination cannot have redaction of its own in this version",
			`f:7: a destination of type file has no key "addr"`,
		},
		"exporters:\n  - type: analyzer\n    addr: nowhere\n    filter: stauts:5xx": {
			"f:2: a destination of this type needs name", `f:3: addr "nowhere": want host:port`, `f:4: filter: Unknown field "stauts" at column 1`,
		},
		"exporters:\n  - name: a b\n    type: file\n    path: /tmp/\n    max_bytes: 1KiB\n    keep: -1": {
			`f:2: name "a b": want`, `f:4: path "/tmp/": want the path of a file`, `f:5: max_bytes "1KiB": want a size of at least 64KiB`, `f:6: keep "-1": want`,
		},
		"exporters:\n  - {name: a, type: file, path: /x/y}\n  - {name: a, type: file, path: /x/../x/y}": {
			`f:3: name "a" is in line 2 too`, "f:3: path \"/x/../x/y\" is in line 2 too",
		},
		"exporters:\n  - {name: a, type: file, path: /x}\n  - {name: b, type: file, path: /y/../x.mark}\n  - {name: c, type: file, path: /x.lock}\n  - {name: g, type: file, path: /x.mark.tmp}\n  - {name: d, type: file, path: /x.000007}\n  - {name: e, type: file, path: /z.1000000}\n  - {name: f, type: file, path: /z}": {
			`f:3: path "/y/../x.mark": what belongs to /x of line 2 has such a name`, `f:4: path "/x.lock": what belongs to /x of line 2`, `f:5: path "/x.mark.tmp": what belongs to`, `f:6: path "/x.000007": what belongs to /x of line 2`, `f:8: path "/z": what belongs to /z.1000000 of line 7`,
		},
		"exporters:\n  - {name: a, type: analyzer, addr: \"me@h:1\"}":                                            {`f:2: addr "me@h:1": want host:port`},
		"exporters:\n  - {name: a, type: analyzer, addr: \"h:1\"}\n  - {name: b, type: analyzer, addr: \"h:1\"}": {`f:3: addr "h:1" is in line 2 too`},
		"exporters:\n  - {name: a, name: b, type: file, path: [x]}":                                              {"f:2: name is there twice", "f:2: path wants one value"},
		"exporters:\n  - {name: &n a, type: file, path: *n}":                                                     {"f:2: path: write the value out"},
		"exporters: [" + strings.Repeat("{name: a, type: file, path: /x},", 17) + "]":                            {"at most 16"},
	} {
		got, err := export.Parse("f", []byte(text))
		if err == nil {
			t.Errorf("%q was taken: %+v", text, got)
			continue
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%q:\n%v\ndoes not say %q", text, err, w)
			}
		}
		if n := len(strings.Split(err.Error(), "\n")); n != len(want) {
			t.Errorf("%q: %d lines for %d mistakes:\n%v", text, n, len(want), err)
		}
	}
}

// TestNeighbours: names that only look like those that a destination keeps.
func TestNeighbours(t *testing.T) {
	got, err := export.Parse("f", []byte("exporters:\n  - {name: a, type: file, path: /none/x}\n  - {name: b, type: file, path: /none/x.7}\n  - {name: c, type: file, path: /none/x.tmp}\n  - {name: d, type: file, path: /other/x.mark}\n"))
	if err != nil || len(got) != 4 {
		t.Errorf("%v %v", got, err)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	if _, err := export.Load(filepath.Join(dir, "none.yaml")); err == nil || !strings.Contains(err.Error(), "none.yaml") {
		t.Error(err)
	}
	if _, err := export.Load(dir); err == nil {
		t.Error("a directory was read")
	}
	file := filepath.Join(dir, "x.yaml")
	if err := os.WriteFile(file, []byte("exporters:\n- {name: a, type: file, path: "+dir+"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := export.Load(file); err == nil || !strings.Contains(err.Error(), file+":2: path") {
		t.Error(err)
	}
}

// FuzzParse: whatever the file holds, there are destinations that can be built
// or mistakes with the file's name.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"exporters:\n  - name: a\n    type: file\n    path: /x\n", `{"exporters":[{"name":"b","type":"analyzer","addr":"h:1","filter":"status:5xx"}]}`,
		"exporters: [{type: s3}]", "a: &a [*a]\nexporters: *a", "exporters:\n- {name: a, type: file, path: /x, keep: 1e9, max_bytes: 9999999GiB}", "---\n---\n", "\t", "? {a: b}\n: c\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := export.Parse("the-file", b)
		if err != nil {
			for line := range strings.SplitSeq(err.Error(), "\nthe-file") {
				if len(got) > 0 || !strings.Contains(err.Error(), "the-file:") {
					t.Errorf("%q: %+v, %s", b, got, line)
				}
			}
			return
		}
		if len(got) == 0 || len(got) > export.MaxDestinations {
			t.Errorf("%d destinations", len(got))
		}
		for _, d := range got {
			ok := d.Name != "" && d.MaxBytes > 0 && d.Keep >= 0
			switch d.Type {
			case export.Analyzer:
				ok = ok && d.Addr != "" && d.Path == ""
			case export.File:
				ok = ok && filepath.IsAbs(d.Path) && d.Addr == ""
			default:
				ok = false
			}
			if !ok {
				t.Errorf("%q: %+v", b, d)
			}
		}
	})
}

func TestRate(t *testing.T) {
	var r export.Rate
	at := time.Unix(1000, 0)
	for i, step := range []struct {
		after   time.Duration
		backlog uint64
		want    time.Duration
	}{
		{0, 1000, 0},                                   // nothing to compare with
		{time.Second, 900, 9 * time.Second},            // 100 a second
		{time.Second, 800, 8 * time.Second},            //
		{8 * time.Second, 800, 40 * time.Second},       // it stalls: 200 in 10 s
		{2 * time.Second, 900, 0},                      // it grows
		{11 * time.Second, 900, 0},                     // all samples are old
		{time.Second, 1, 0},                            // 899 a second: no time at all
		{time.Second, 0, 0},                            //
		{30 * time.Second, 1 << 62, 0},                 //
		{time.Second, 1<<62 - 1, 365 * 24 * time.Hour}, // no overflow
	} {
		at = at.Add(step.after)
		if got := r.ETA(at, step.backlog); got.Round(10*time.Millisecond) != step.want {
			t.Errorf("step %d: %v, want %v", i, got, step.want)
		}
	}
}
