package protocoltest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/weir-capture/weir/protocol"
)

// separator stands between what is said and what is reported.
const separator = "---\n"

// Conversation is what passes on one connection.
type Conversation struct {
	Steps []Step
	// Want is what a decoder reports, as Recorder writes it.
	Want string
}

// Step is one thing that passes in one direction: bytes, a number of bytes
// that were not seen, or the end.
type Step struct {
	Dir  protocol.Direction
	At   protocol.Time
	Data []byte
	Gap  int64
	End  bool
	// Reset: the end came as one, not as a FIN.
	Reset bool
}

// ParseConversation reads the text of a conversation file. Before the line
// "---" is what passes, one step a line; after it, what is reported.
//
//	# a comment
//	client "GET / HTTP/1.1\r\n"
//	       "Host: example\r\n\r\n"
//	wait 5ms
//	server "HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n"
//	server "x" * 40000
//	server gap 30000
//	server close
//	client reset
//
// Strings are Go's; several side by side or below each other are one step;
// "* n" repeats the string before it. The clock starts at 0, and stands still
// but for wait.
func ParseConversation(text string) (*Conversation, error) {
	said, want, found := strings.Cut(text, separator)
	if !found {
		said, want = text, ""
	}
	c := &Conversation{Want: want}
	var now protocol.Time
	for i, line := range strings.Split(said, "\n") {
		if err := c.parseLine(line, &now); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	return c, nil
}

func (c *Conversation) parseLine(line string, now *protocol.Time) error {
	if line == "" || line[0] == '#' {
		return nil
	}
	if line[0] == ' ' || line[0] == '\t' {
		if len(c.Steps) == 0 {
			return fmt.Errorf("nothing to continue")
		}
		return c.Steps[len(c.Steps)-1].parseData(strings.TrimSpace(line))
	}
	word, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimSpace(rest)
	s := Step{At: *now}
	switch word {
	case "wait":
		d, err := time.ParseDuration(rest)
		if err != nil {
			return fmt.Errorf("parse wait: %w", err)
		}
		*now += d.Nanoseconds()
		return nil
	case "client":
	case "server":
		s.Dir = protocol.ServerToClient
	default:
		return fmt.Errorf("%q is neither client, server nor wait", word)
	}
	verb, arg, _ := strings.Cut(rest, " ")
	switch verb {
	case "close":
		s.End = true
	case "reset":
		s.End, s.Reset = true, true
	case "gap":
		n, err := strconv.ParseInt(arg, 10, 64)
		if err != nil {
			return fmt.Errorf("parse gap: %w", err)
		}
		s.Gap = n
	default:
		if err := s.parseData(rest); err != nil {
			return err
		}
	}
	c.Steps = append(c.Steps, s)
	return nil
}

func (s *Step) parseData(text string) error {
	for text != "" {
		quoted, err := strconv.QuotedPrefix(text)
		if err != nil {
			return fmt.Errorf("%q is not a string", text)
		}
		piece, err := strconv.Unquote(quoted)
		if err != nil {
			return fmt.Errorf("unquote %s: %w", quoted, err)
		}
		text = strings.TrimSpace(text[len(quoted):])
		if rest, ok := strings.CutPrefix(text, "*"); ok {
			number, rest, _ := strings.Cut(strings.TrimSpace(rest), " ")
			n, err := strconv.Atoi(number)
			if err != nil {
				return fmt.Errorf("parse repetition: %w", err)
			}
			piece = strings.Repeat(piece, n)
			text = strings.TrimSpace(rest)
		}
		s.Data = append(s.Data, piece...)
	}
	return nil
}

// each makes steps by putting every data step through f.
func (c *Conversation) each(f func(Step) []Step) []Step {
	var steps []Step
	for _, s := range c.Steps {
		if len(s.Data) == 0 {
			steps = append(steps, s)
			continue
		}
		steps = append(steps, f(s)...)
	}
	return steps
}

// Bytewise is the conversation one byte at a time.
func (c *Conversation) Bytewise() []Step {
	return c.each(func(s Step) (steps []Step) {
		for i := range s.Data {
			steps = append(steps, Step{Dir: s.Dir, At: s.At, Data: s.Data[i : i+1]})
		}
		return steps
	})
}

// Split is the conversation in pieces of random sizes, small ones above all.
func (c *Conversation) Split(r *rand.Rand) []Step {
	return c.each(func(s Step) (steps []Step) {
		for b := s.Data; len(b) > 0; {
			n := 1 + r.IntN(1<<(1+r.IntN(12)))
			n = min(n, len(b))
			steps = append(steps, Step{Dir: s.Dir, At: s.At, Data: b[:n]})
			b = b[n:]
		}
		return steps
	})
}

// WithGap is the conversation split at random, with one piece unseen.
func (c *Conversation) WithGap(r *rand.Rand) []Step {
	steps := c.Split(r)
	var data []int
	for i, s := range steps {
		if len(s.Data) > 0 {
			data = append(data, i)
		}
	}
	if len(data) > 0 {
		s := &steps[data[r.IntN(len(data))]]
		s.Gap, s.Data = int64(len(s.Data)), nil
	}
	return steps
}

// A fuzzer's plan has a byte for each step: whose turn it is (bit 0), what
// happens (bits 1 to 3: one of sizes, a gap, or the end), and whether a
// millisecond passes before (bit 4).
var sizes = [...]int{1, 2, 7, 64, 512, 4096}

const (
	planGap = len(sizes)
	planEnd = len(sizes) + 1
)

func fromPlan(client, server, plan []byte) *Conversation {
	c := &Conversation{}
	left := [2][]byte{client, server}
	var ended [2]bool
	var now protocol.Time
	take := func(dir protocol.Direction, n int) {
		n = min(n, len(left[dir]))
		if n > 0 && !ended[dir] {
			c.Steps = append(c.Steps, Step{Dir: dir, At: now, Data: left[dir][:n]})
			left[dir] = left[dir][n:]
		}
	}
	end := func(dir protocol.Direction, reset bool) {
		if !ended[dir] {
			ended[dir] = true
			c.Steps = append(c.Steps, Step{Dir: dir, At: now, End: true, Reset: reset})
		}
	}
	for i, b := range plan {
		dir := protocol.Direction(b & 1)
		now += int64(b>>4&1) * time.Millisecond.Nanoseconds()
		switch op := int(b >> 1 & 7); {
		case op < len(sizes):
			take(dir, sizes[op])
		case op == planGap && !ended[dir]:
			c.Steps = append(c.Steps, Step{Dir: dir, At: now, Gap: int64(1 + i%100)})
		case op == planEnd:
			end(dir, b>>5&1 != 0)
		}
	}
	for dir := range left {
		take(protocol.Direction(dir), len(left[dir]))
	}
	end(protocol.ServerToClient, false)
	end(protocol.ClientToServer, false)
	return c
}

// toPlan is roughly the inverse of fromPlan: a seed for the fuzzer.
func (c *Conversation) toPlan() (client, server, plan []byte) {
	var all [2]bytes.Buffer
	for _, s := range c.Steps {
		b := byte(s.Dir)
		switch {
		case s.End:
			plan = append(plan, b|byte(planEnd)<<1)
		case s.Gap > 0:
			plan = append(plan, b|byte(planGap)<<1)
		}
		all[s.Dir].Write(s.Data)
		for left := len(s.Data); left > 0; {
			i := len(sizes) - 1
			for sizes[i] > left {
				i--
			}
			left -= sizes[i]
			plan = append(plan, b|byte(i)<<1)
		}
	}
	return all[0].Bytes(), all[1].Bytes(), plan
}
