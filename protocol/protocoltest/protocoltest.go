// Package protocoltest is the kit that holds every protocol to the same
// rules: conversation files, played whole, byte by byte, split at random and
// with gaps, and fuzzing.
//
// A protocol's test is two lines:
//
//	func TestConversations(t *testing.T) { protocoltest.Run(t, Protocol) }
//	func FuzzDecoder(f *testing.F)       { protocoltest.Fuzz(f, Protocol) }
//
// Its conversations lie in testdata/*.conv; see ParseConversation for what
// they look like. go test -update writes the reports that they end with.
package protocoltest

import (
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-capture/weir/protocol"
)

var update = flag.Bool("update", false, "write the reports of conversation files")

// Files returns the conversation files of the package under test.
func Files(tb testing.TB) []string {
	tb.Helper()
	files, err := filepath.Glob("testdata/*.conv")
	if err != nil {
		tb.Fatalf("find conversations: %v", err)
	}
	if len(files) == 0 {
		tb.Fatal("there are no conversations in testdata")
	}
	return files
}

// Run plays every conversation of the package's testdata to p, and compares
// what it reports with what the file says.
func Run(t *testing.T, p protocol.Protocol) {
	for _, file := range Files(t) {
		name := strings.TrimSuffix(filepath.Base(file), ".conv")
		t.Run(name, func(t *testing.T) { runFile(t, p, file) })
	}
}

func runFile(t *testing.T, p protocol.Protocol, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("read conversation: %v", err)
	}
	c, err := ParseConversation(string(text))
	if err != nil {
		t.Fatalf("parse %s: %v", file, err)
	}
	whole := play(t, p, c.Steps)
	if *update && whole != c.Want {
		head, _, _ := strings.Cut(string(text), separator)
		if err := os.WriteFile(file, []byte(head+separator+whole), 0o644); err != nil {
			t.Fatalf("write conversation: %v", err)
		}
		c.Want = whole
	}
	if d := diff(c.Want, whole); d != "" {
		t.Fatalf("reports differ (- wanted, + got; -update takes what it got):\n%s", d)
	}
	if d := diff(whole, play(t, p, c.Bytewise())); d != "" {
		t.Fatalf("byte by byte, reports differ (- whole, + byte by byte):\n%s", d)
	}
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		if d := diff(whole, play(t, p, c.Split(r))); d != "" {
			t.Fatalf("split at random with seed %d, reports differ (- whole, + split):\n%s", seed, d)
		}
		// What is reported with bytes missing depends on which ones are; that
		// it stays well formed is checked by play.
		play(t, p, c.WithGap(r))
		if t.Failed() {
			t.Fatalf("with a gap, seed %d", seed)
		}
	}
}

// Fuzz feeds p with what the fuzzer makes of its conversations: bytes of both
// directions, and a plan of how they interleave. It must not panic, must
// report in order and no more than there was, and the same for any split.
func Fuzz(f *testing.F, p protocol.Protocol) {
	for _, file := range Files(f) {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatalf("read conversation: %v", err)
		}
		c, err := ParseConversation(string(text))
		if err != nil {
			f.Fatalf("parse %s: %v", file, err)
		}
		client, server, plan := c.toPlan()
		if len(client)+len(server) > 8<<10 {
			continue // large ones only slow the fuzzer down
		}
		f.Add(client, server, plan)
	}
	f.Fuzz(func(t *testing.T, client, server, plan []byte) {
		c := fromPlan(client, server, plan)
		whole := play(t, p, c.Steps)
		h := fnv.New64a()
		h.Write(client)
		h.Write(server)
		r := rand.New(rand.NewPCG(h.Sum64(), 2))
		if d := diff(whole, play(t, p, c.Split(r))); d != "" {
			t.Fatalf("split at random, reports differ (- whole, + split):\n%s", d)
		}
	})
}

// diff shows the lines at which two texts part; empty when they are equal.
func diff(want, got string) string {
	if want == got {
		return ""
	}
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	same := 0
	for same < len(w) && same < len(g) && w[same] == g[same] {
		same++
	}
	var b strings.Builder
	for _, line := range w[max(same-3, 0):same] {
		fmt.Fprintf(&b, "  %s\n", line)
	}
	for _, line := range w[same:min(same+8, len(w))] {
		fmt.Fprintf(&b, "- %s\n", line)
	}
	for _, line := range g[same:min(same+8, len(g))] {
		fmt.Fprintf(&b, "+ %s\n", line)
	}
	return b.String()
}
