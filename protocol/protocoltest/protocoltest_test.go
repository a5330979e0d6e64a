package protocoltest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/weir-capture/weir/protocol"
)

// lines is a protocol for the kit's own tests: every line of the client is a
// request.
func lines(sink protocol.Sink) *lineDecoder { return &lineDecoder{sink: sink} }

type lineDecoder struct {
	sink protocol.Sink
	line []byte
	// wrong makes it break a rule.
	wrong string
	kept  []byte
}

func (d *lineDecoder) Data(dir protocol.Direction, at protocol.Time, b []byte) error {
	if d.wrong == "split" && len(b) > 3 {
		b = b[:3]
	}
	if d.wrong == "keep" {
		if d.kept != nil {
			d.sink.Begin(protocol.Begin{Dir: dir, At: at, Head: d.kept})
			d.sink.End(protocol.End{Dir: dir, At: at})
		}
		d.kept = b
		return nil
	}
	for _, c := range b {
		d.line = append(d.line, c)
		if c != '\n' {
			continue
		}
		d.sink.Begin(protocol.Begin{Dir: dir, At: at, Head: d.line})
		if d.wrong == "twice" {
			d.sink.Begin(protocol.Begin{Dir: dir, At: at})
		}
		if d.wrong == "invent" {
			d.sink.Body(protocol.Body{Dir: dir, At: at, Data: []byte("never said")})
		}
		if d.wrong != "dangle" {
			d.sink.End(protocol.End{Dir: dir, At: at, Wire: uint64(len(d.line))})
		}
		if d.wrong == "end" {
			d.sink.End(protocol.End{Dir: dir, At: at})
		}
		if d.wrong == "run away" {
			for range 1000 {
				d.sink.Begin(protocol.Begin{Kind: protocol.Interim, Dir: dir, At: at})
			}
		}
		if d.wrong == "dangle" {
			return errors.New("given up")
		}
		d.line = nil
	}
	return nil
}

func (d *lineDecoder) Gap(protocol.Direction, protocol.Time, int64) error {
	return fmt.Errorf("find line: %w", protocol.ErrGap)
}

func (d *lineDecoder) Close(protocol.Direction, protocol.Time, bool) error { return nil }

func (d *lineDecoder) Held() int {
	if d.wrong == "hoard" {
		return protocol.MaxHeld + 1
	}
	return len(d.line)
}

// complaints is a testing.TB that remembers what is wrong.
type complaints struct {
	testing.TB
	text []string
}

func (c *complaints) Helper() {}

func (c *complaints) Errorf(format string, args ...any) {
	c.text = append(c.text, fmt.Sprintf(format, args...))
}

func protocolWith(wrong string) protocol.Protocol {
	return protocol.Protocol{
		Name:   "lines",
		Detect: func(_, _ []byte) protocol.Verdict { return protocol.Match },
		New: func(s protocol.Sink, fuel *protocol.Fuel) protocol.Decoder {
			d := lines(s)
			d.wrong = wrong
			return d
		},
	}
}

const conversation = `# a comment
client "one\n" "two\n"
       "three\n"
wait 5ms
client "x" * 3 "\n"
client close
server close
---
`

// TestKitComplains: each rule that the kit holds decoders to is one that a
// decoder can break.
func TestKitComplains(t *testing.T) {
	c, err := ParseConversation(conversation)
	if err != nil {
		t.Fatal(err)
	}
	for wrong, complaint := range map[string]string{
		"":         "",
		"twice":    "begins inside another",
		"invent":   "never passed",
		"dangle":   "begun and never ended",
		"end":      "an end outside a message",
		"run away": "reports about",
		"keep":     "never passed",
		"hoard":    "are held",
	} {
		tb := &complaints{TB: t}
		play(tb, protocolWith(wrong), c.Steps)
		text := strings.Join(tb.text, "\n")
		if complaint == "" && text != "" || !strings.Contains(text, complaint) {
			t.Errorf("a decoder that is wrong in %q: the kit says %q, want %q", wrong, text, complaint)
		}
	}
	tb := &complaints{TB: t}
	if play(tb, protocolWith("split"), c.Steps) == play(tb, protocolWith("split"), c.Bytewise()) {
		t.Error("a decoder that depends on how bytes are split is not found out")
	}
}

func TestConversationText(t *testing.T) {
	c, err := ParseConversation(conversation)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(c.Steps); n != 4 {
		t.Fatalf("%d steps", n)
	}
	if got := string(c.Steps[0].Data); got != "one\ntwo\nthree\n" {
		t.Errorf("the first step is %q", got)
	}
	if s := c.Steps[1]; string(s.Data) != "xxx\n" || s.At != 5e6 {
		t.Errorf("the second step is %q at %d", s.Data, s.At)
	}
	if s := c.Steps[3]; !s.End || s.Reset || s.Dir != protocol.ServerToClient {
		t.Errorf("the last step is %+v", s)
	}
	for _, bad := range []string{
		"nobody \"x\"", "client x", "client \"x\" * y", "wait long", "client gap x", "  \"x\"", "client \"\\q\"",
	} {
		if _, err := ParseConversation(bad); err == nil || !strings.Contains(err.Error(), "line 1") {
			t.Errorf("%q is read as a conversation, or the error does not say where it is wrong: %v", bad, err)
		}
	}
}

func TestPlanIsItsInverse(t *testing.T) {
	c, err := ParseConversation(conversation)
	if err != nil {
		t.Fatal(err)
	}
	client, server, plan := c.toPlan()
	again := fromPlan(client, server, plan)
	tb := &complaints{TB: t}
	want := strings.NewReplacer("0s..5ms", "0s", "5ms", "0s").Replace(play(tb, protocolWith(""), c.Steps))
	if got := play(tb, protocolWith(""), again.Steps); got != want || len(tb.text) > 0 {
		t.Errorf("a conversation made a plan and played is\n%s\nnot\n%s %v", got, want, tb.text)
	}
}
