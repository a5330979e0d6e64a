package forwarder_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/weir-capture/weir/forwarder"
	"github.com/weir-capture/weir/internal/vfs"
)

// raw reports whether a file below dir has a text in it, also packed.
func raw(dir, text string) (where string, files int, err error) {
	d, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(256<<20))
	if err != nil {
		return "", 0, err
	}
	defer d.Close()
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it was renamed meanwhile
		}
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		files++
		for at := 0; err == nil && where == ""; at++ {
			if bytes.Contains(b, []byte(text)) {
				where = path
			}
			i := bytes.Index(b[min(at, len(b)):], []byte{0x28, 0xb5, 0x2f, 0xfd})
			if i < 0 {
				break
			}
			at += i
			if err := d.Reset(bytes.NewReader(b[at:])); err == nil {
				// Something else follows it, which is an error behind its end.
				if plain, _ := io.ReadAll(d); bytes.Contains(plain, []byte(text)) {
					where = path + " (packed)"
				}
			}
		}
		return err
	})
	return where, files, err
}

// TestS03Spool: what a rule takes never stands in the spool, not for a moment:
// its files are searched while pairs come in and nobody takes them.
func TestS03Spool(t *testing.T) {
	a := newAnalyzer(t)
	cfg := config(t, a.addr)
	cfg.DLPConfig = "standard"
	f := run(t, cfg)
	p := newProxy(1)
	p.start(t, f.addr())
	looked := 0
	for range 40 {
		p.secretive()
		for {
			done := p.waiting() == nil
			// The value of "internal" is what this rule set does not take.
			where, files, err := raw(cfg.SpoolDir, "hunter2")
			if err != nil {
				t.Fatal(err)
			}
			if where == "" && done {
				t.Fatalf("not even what no rule takes is in %d files: nothing was looked into", files)
			}
			if where, _, err := raw(cfg.SpoolDir, "Bearer hunter2"); err != nil || where != "" {
				t.Fatalf("the token is in %s (%v)", where, err)
			}
			if where, _, err := raw(cfg.SpoolDir, "password=hunter2"); err != nil || where != "" {
				t.Fatalf("the query is in %s (%v)", where, err)
			}
			looked++
			if done {
				break
			}
		}
	}
	t.Logf("looked through the spool %d times", looked)
}

// TestR34Reload: the rules change 200 times under load, and every pair is
// redacted by those of before or of after; a file that is wrong changes nothing
// and is told with the line.
func TestR34Reload(t *testing.T) {
	a := newAnalyzer(t) // not there: the spool keeps every pair
	cfg := config(t, a.addr)
	cfg.DLPConfig = filepath.Join(t.TempDir(), "rules.yaml")
	write := func(text string) {
		t.Helper()
		next := cfg.DLPConfig + ".next"
		if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, cfg.DLPConfig); err != nil {
			t.Fatal(err)
		}
	}
	rules := func(how string) string {
		return "extends: standard\nrules:\n  - {name: internal, keys: [internal], in: [json], how: " + how + "}\n"
	}
	write(rules("mask"))
	// A signal before the forwarder listens to it would end the process.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP)
	defer signal.Stop(signals)
	f := run(t, cfg)
	p := newProxy(1)
	p.start(t, f.addr())
	p.secretive()
	poll(t, "the first batch", p.waiting)
	reload := func(text, line string) {
		t.Helper()
		before := strings.Count(f.log.String(), line)
		write(text)
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		p.secretive() // one is under way while they change
		poll(t, line, func() error {
			if n := strings.Count(f.log.String(), line); n <= before {
				return fmt.Errorf("%d times", n)
			}
			return nil
		})
	}
	const reloads = 200
	wrong := 0
	for i := range reloads {
		how := []string{"remove", "mask"}[i%2]
		reload(rules(how), "DLP rules are as DLP_CONFIG says")
		if i%20 == 0 {
			wrong++
			reload(rules("hide"), `line 3: rule \"internal\": how: \"hide\"`)
		}
		p.secretive()
	}
	poll(t, "all batches", p.waiting)
	for _, err := range forwarder.SpoolPairs(t.Context(), cfg.SpoolDir, nil) {
		if _, ok := errors.AsType[*vfs.LockedError](err); !ok {
			t.Fatalf("the spool of a forwarder that runs: %v", err)
		}
	}
	f.stop()
	by := map[string]int{}
	for pair, err := range forwarder.SpoolPairs(t.Context(), cfg.SpoolDir, nil) {
		if err != nil {
			t.Fatal(err)
		}
		text := pair.String()
		if strings.Contains(text, "hunter2") {
			t.Fatalf("a pair that nobody redacted: %s", text)
		}
		switch body := string(pair.GetRequest().GetBody()); {
		case strings.Contains(body, `"internal":"********"`):
			by["mask"]++
		case strings.Contains(body, `"internal":""`):
			by["remove"]++
		default:
			t.Fatalf("a pair that neither redacted: %s", text)
		}
	}
	const perBatch = 3
	if sum := by["mask"] + by["remove"]; sum != perBatch*(1+2*reloads+wrong) || by["mask"] < reloads || by["remove"] < reloads {
		t.Errorf("of %d batches: %v", 1+2*reloads+wrong, by)
	}
}
