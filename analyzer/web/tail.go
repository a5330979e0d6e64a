package web

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/weir-capture/weir/analyzer/store"
	httpv1 "github.com/weir-capture/weir/api/http/v1"
)

const tailPath = "/api/v1/tail"

// tailWrite is how long one event may take to leave. A reader that does not
// read for that long is cut off; it may come back with its cursor.
const tailWrite = 10 * time.Second

// stream writes server-sent events (WHATWG HTML, section 9.2).
type stream struct {
	mu   sync.Mutex
	w    http.ResponseWriter
	ctl  *http.ResponseController
	last time.Time // when something was written
	// storeID is a part of cursors.
	storeID string
	// sight is the reader's.
	sight sight
}

// send writes one event and flushes it. id may be empty.
func (s *stream) send(event, id string, data any) error {
	b, err := json.Marshal(data) // one line: JSON escapes line ends
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	msg := "event: " + event + "\n"
	if id != "" {
		msg += "id: " + id + "\n"
	}
	return s.write(msg + "data: " + string(b) + "\n\n")
}

func (s *stream) write(msg string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if err := s.ctl.SetWriteDeadline(now.Add(tailWrite)); err != nil {
		return fmt.Errorf("set deadline: %w", err)
	}
	if _, err := s.w.Write([]byte(msg)); err != nil {
		return fmt.Errorf("write event: %w", err)
	}
	if err := s.ctl.Flush(); err != nil {
		return fmt.Errorf("flush event: %w", err)
	}
	s.last = now
	return nil
}

// event writes what a tail yielded. Each tells where the tail stands; an id
// without data moves only the reader's cursor.
func (s *stream) event(ev store.Event) error {
	if ev.Dropped > 0 {
		if err := s.send("dropped", "", httpv1.Dropped{Count: ev.Dropped}); err != nil {
			return err
		}
	}
	at := ""
	if ev.Seq > 0 {
		at = tailCursor(s.storeID, ev.Seq)
	}
	switch {
	case ev.Stored != nil:
		return s.send("pair", at, s.sight.row(ev.Stored))
	case at != "":
		return s.write("id: " + at + "\n\n")
	}
	return nil
}

// beat keeps a silent stream alive through proxies, and notices a reader that
// went away. It returns when ctx ends or a write fails.
func (s *stream) beat(ctx context.Context, every time.Duration) {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		s.mu.Lock()
		silent := time.Since(s.last) >= every/2
		s.mu.Unlock()
		if silent && s.write(": still here\n\n") != nil {
			return
		}
	}
}

// tail answers until the reader goes, or the server stops. foreign: the reader
// comes from another store, where nothing can be resumed.
func (s *Server) tail(w http.ResponseWriter, r *http.Request, ask store.Tail, foreign bool) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.stopping, cancel)()

	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would hold events back
	out := &stream{w: w, ctl: http.NewResponseController(w), storeID: s.cfg.StoreID, sight: sightOf(ctx)}
	// The reader knows at once that it is connected, and how soon to come back.
	if out.write("retry: 1000\n: connected\n\n") != nil {
		return
	}
	if foreign && out.send("dropped", "", httpv1.Dropped{Count: 1}) != nil {
		return
	}
	var beats sync.WaitGroup
	beats.Go(func() {
		defer cancel()
		out.beat(ctx, s.cfg.Heartbeat)
	})
	defer beats.Wait()
	defer cancel()

	for ev, err := range s.deps.Store.Tail(ctx, ask) {
		if err != nil {
			if ctx.Err() == nil {
				s.log.ErrorContext(ctx, "Could not go on with a tail", slog.String("error", err.Error()))
			}
			return
		}
		if out.event(ev) != nil {
			return
		}
		s.metrics.tailDropped.Add(float64(ev.Dropped))
	}
}

// enter takes one of the places that a channel has; the caller gives it back
// with the function.
func enter(places chan struct{}) (func(), bool) {
	select {
	case places <- struct{}{}:
		return func() { <-places }, true
	default:
		return nil, false
	}
}
