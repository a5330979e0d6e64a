package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"

	httpv1 "github.com/weir-capture/weir/api/http/v1"
)

// Event is one event of a tail: a pair, or how many were lost because the
// reader was too slow (they are stored), or neither when only Cursor moved.
type Event struct {
	Pair    *Row
	Dropped uint64
	// Cursor resumes behind this event; empty when it did not move.
	Cursor string
}

// ErrTailEnded: the analyzer ended the tail, as it does when it stops.
var ErrTailEnded = errors.New("tail ended")

// Tail follows pairs as they are stored, over one connection. It begins behind
// cursor, or now when that is empty. It ends when ctx does, when the consumer
// stops, or with an error as its last element, ErrTailEnded among them.
func (c *Client) Tail(ctx context.Context, query, cursor string) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		v := url.Values{}
		set(v, "q", query)
		h := http.Header{"Accept": {"text/event-stream"}}
		if cursor != "" {
			h.Set("Last-Event-ID", cursor)
		}
		resp, err := c.ask(ctx, "/api/v1/tail", v, h)
		if err != nil {
			yield(Event{}, err)
			return
		}
		defer resp.Body.Close()
		for raw, err := range events(resp.Body) {
			if err != nil {
				switch {
				case ctx.Err() != nil:
					err = ctx.Err()
				case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
					err = ErrTailEnded
				}
				yield(Event{}, err)
				return
			}
			ev, err := raw.event()
			if err != nil {
				yield(Event{}, err)
				return
			}
			if !yield(ev, nil) {
				return
			}
		}
	}
}

// Follow is Tail that comes back: after a restart of the analyzer or a cut
// connection it goes on where it was, with growing pauses of at most 5 s. The
// first connection must succeed, and a Problem other than 503 ends it.
func (c *Client) Follow(ctx context.Context, query, cursor string) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		const most = 5 * time.Second
		began, wait := false, 100*time.Millisecond
		for {
			var failed error
			for ev, err := range c.Tail(ctx, query, cursor) {
				if err != nil {
					failed = err
					break
				}
				began, wait = true, 100*time.Millisecond
				if ev.Cursor != "" {
					cursor = ev.Cursor
				}
				if !yield(ev, nil) {
					return
				}
			}
			p, isProblem := errors.AsType[*Problem](failed)
			_, unreachable := errors.AsType[*UnreachableError](failed)
			if ctx.Err() != nil || isProblem && p.Status != http.StatusServiceUnavailable || !began && (unreachable || isProblem) {
				yield(Event{}, failed)
				return
			}
			began = true
			select {
			case <-ctx.Done():
				yield(Event{}, ctx.Err())
				return
			case <-time.After(wait/2 + rand.N(wait/2)):
			}
			wait = min(2*wait, most)
		}
	}
}

// rawEvent is one event as it stood in the stream.
type rawEvent struct {
	kind, id string
	data     []byte
}

func (r rawEvent) event() (Event, error) {
	ev := Event{Cursor: r.id}
	var into any
	var lost httpv1.Dropped
	switch r.kind {
	case "pair":
		ev.Pair = &Row{}
		into = ev.Pair
	case "dropped":
		into = &lost
	default:
		return ev, nil // of a newer analyzer
	}
	if err := json.Unmarshal(r.data, into); err != nil {
		return Event{}, fmt.Errorf("read %s event: %w", r.kind, err)
	}
	ev.Dropped = lost.Count
	return ev, nil
}

// maxLine bounds one line of a stream; a row is far below.
const maxLine = 1 << 20

// events reads server-sent events (WHATWG HTML, section 9.2.6), as far as
// programs need it: fields event, id and data, lines that end in LF or CRLF,
// comments. An event without data is yielded when it has an id. The error is
// the last element: io.EOF at the end.
func events(r io.Reader) iter.Seq2[rawEvent, error] {
	return func(yield func(rawEvent, error) bool) {
		sc := bufio.NewScanner(r)
		sc.Buffer(nil, maxLine)
		var ev rawEvent
		seen, size := false, 0
		for sc.Scan() {
			line := sc.Bytes()
			if len(line) == 0 {
				if (seen || ev.id != "") && !yield(ev, nil) {
					return
				}
				ev, seen, size = rawEvent{}, false, 0
				continue
			}
			name, value, _ := bytes.Cut(line, []byte{':'})
			value = bytes.TrimPrefix(value, []byte{' '})
			if size += len(value); size > maxLine {
				yield(rawEvent{}, fmt.Errorf("read tail: an event is larger than %d bytes", maxLine))
				return
			}
			switch string(name) {
			case "event":
				ev.kind = string(value)
			case "id":
				ev.id = string(value)
			case "data":
				if seen {
					ev.data = append(ev.data, '\n')
				}
				ev.data = append(ev.data, value...)
				seen = true
			}
		}
		err := sc.Err()
		if err == nil {
			err = io.EOF
		}
		yield(rawEvent{}, err)
	}
}
