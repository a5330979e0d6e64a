package sampling_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-capture/weir/forwarder/sampling"
)

func TestParse(t *testing.T) {
	r, err := sampling.Parse([]byte("# who is loud\n\n  checkout 1/10 # since Monday\nweb shop\t1/3\r\n#1 1/2\n* 1/1000000\nall 1/1"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]uint32{"checkout": 10, "web shop": 3, "*": 1_000_000, "all": 1}
	if !maps.Equal(r.All(), want) {
		t.Errorf("%v", r.All())
	}
	for app, n := range map[string]uint32{"checkout": 10, "web shop": 3, "all": 1, "other": 1_000_000, "": 1_000_000} {
		if got := r.KeepOneIn(app); got != n {
			t.Errorf("%q keeps one in %d, want %d", app, got, n)
		}
	}
	r, err = sampling.Parse([]byte("a 1/2"))
	if err != nil || r.KeepOneIn("b") != 0 {
		t.Errorf("%v: an app that nobody named is told 1/%d", err, r.KeepOneIn("b"))
	}
}

func TestMistakesNameTheirLine(t *testing.T) {
	for text, want := range map[string]string{
		"a 1/2\ncheckout":                  `line 2: want "app 1/N"`,
		"a 1/0":                            `line 1: "1/0" is not 1/N`,
		"a 1/1000001":                      "line 1",
		"a 1/99999999999999999999999":      "line 1",
		"a 2/4":                            `"2/4" is not 1/N`,
		"a 10%":                            "line 1",
		"a 1/-3":                           "line 1",
		"a 1/2\n\n# x\na 1/3":              `line 4: "a" is there twice`,
		"a\xff 1/2":                        "line 1: not UTF-8",
		strings.Repeat("x", 2000) + " 1/2": "line 1: a name of 2000 bytes",
	} {
		_, err := sampling.Parse([]byte(text))
		if _, ok := errors.AsType[*sampling.LineError](err); !ok || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %s", text, err, want)
		}
	}
	if _, err := sampling.Parse(bytes.Repeat([]byte("#\n"), 200_000)); err == nil {
		t.Error("a file without bounds is taken")
	}
	var many strings.Builder
	for i := range 1001 {
		many.WriteString(strings.Repeat("a", i%100+1) + strings.Repeat("b", i/100) + " 1/2\n")
	}
	if _, err := sampling.Parse([]byte(many.String())); err == nil || !strings.Contains(err.Error(), "more than 1000 apps") {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("# who\ncheckout 1/10\nweb shop 1/3 # x\n* 1/4\n"))
	f.Add([]byte("a 1/2\r\nb\t1/1\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := sampling.Parse(b)
		if err != nil {
			return
		}
		for app, n := range r.All() {
			if n < 1 || n > sampling.MaxKeepOneIn || r.KeepOneIn(app) != n {
				t.Fatalf("%q: 1/%d", app, n)
			}
			if strings.Contains(app, "\n") {
				t.Fatalf("a name of two lines: %q", app)
			}
		}
		if r.KeepOneIn("\xff") != r.All()["*"] {
			t.Fatal("who has no line goes by *")
		}
	})
}

type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.b.String()
	l.b.Reset()
	return s
}

// TestFileChanges: good changes count within two looks, bad ones change
// nothing and are told once, with their line.
func TestFileChanges(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(dir, "sample")
		write := func(text string) {
			t.Helper()
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		var lines log
		var changed atomic.Int32
		logger := slog.New(slog.NewTextHandler(&lines, nil))
		open := func() (*sampling.Watcher, error) {
			return sampling.Watch(path, func() { changed.Add(1) }, logger)
		}
		if _, err := open(); err == nil {
			t.Fatal("no file, no error")
		}
		write("a 2/3")
		if _, err := open(); err == nil {
			t.Fatal("a bad file, no error")
		}
		write("a 1/2")
		w, err := open()
		if err != nil {
			t.Fatal(err)
		}
		hup := make(chan os.Signal)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.Run(ctx, hup) }()
		after := func(d time.Duration, keep uint32, changes int32, line string) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			text := lines.take()
			if got := w.Rules().KeepOneIn("a"); got != keep || changed.Load() != changes || line == "" && text != "" || !strings.Contains(text, line) || strings.Count(text, "\n") > 1 {
				t.Fatalf("1/%d, want 1/%d; changed %d times, want %d; log %q, want %q", got, keep, changed.Load(), changes, text, line)
			}
		}
		after(5*time.Second, 2, 0, "")
		write("a 1/3")
		after(2*time.Second+time.Millisecond, 3, 1, "Sampling is as SAMPLE_FILE says")
		// Half written, and then whole: the half never counts.
		write("a 1/")
		time.Sleep(time.Second)
		write("a 1/40")
		after(2*time.Second, 40, 2, "Sampling is as")
		write("# better\na 1/x\n")
		after(2*time.Second, 40, 2, "line 2")
		after(time.Minute, 40, 2, "")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		after(2*time.Second, 40, 2, "no such file")
		after(time.Minute, 40, 2, "")
		write("a 1/40")
		after(2*time.Second, 40, 3, "Sampling is as")
		// Somebody asks: at once, and with an answer also when nothing is new.
		write("a 1/50")
		hup <- os.Interrupt
		after(0, 50, 4, "Sampling is as")
		hup <- os.Interrupt
		after(0, 50, 5, "Sampling is as")
		write("a 1/0")
		hup <- os.Interrupt
		after(0, 50, 5, "line 1")
		hup <- os.Interrupt
		after(0, 50, 5, "line 1")
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
