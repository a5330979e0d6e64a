// Package lograte keeps repeated log lines readable: one line a second of each
// message, with the number of those that were left out.
package lograte

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Logger writes the first line of a message at once and opens a window; what
// comes within the window is counted, and its end writes the newest of them
// with a "suppressed" count. Messages must be constants: one entry is kept for
// each while its window is open. It is safe for concurrent use.
type Logger struct {
	log   *slog.Logger
	every time.Duration

	mu      sync.Mutex
	windows map[string]*window
	closed  bool
}

type window struct {
	timer      *time.Timer
	suppressed uint64
	level      slog.Level
	attrs      []slog.Attr
}

// New limits what goes to log to one line of each message per interval.
func New(log *slog.Logger, every time.Duration) *Logger {
	return &Logger{log: log, every: every, windows: make(map[string]*window)}
}

// Log writes or counts one line.
func (l *Logger) Log(level slog.Level, msg string, attrs ...slog.Attr) {
	if !l.log.Enabled(context.Background(), level) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if w := l.windows[msg]; w != nil {
		w.suppressed++
		w.level, w.attrs = level, attrs
		return
	}
	l.log.LogAttrs(context.Background(), level, msg, attrs...)
	if !l.closed {
		w := new(window)
		w.timer = time.AfterFunc(l.every, func() { l.end(msg) })
		l.windows[msg] = w
	}
}

// end closes a window; it opens the next one if lines were left out.
func (l *Logger) end(msg string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.windows[msg]
	if w == nil {
		return
	}
	if !l.flush(msg, w) || l.closed {
		delete(l.windows, msg)
		return
	}
	w.timer.Reset(l.every)
}

// flush writes what a window counted. l.mu is held.
func (l *Logger) flush(msg string, w *window) bool {
	if w.suppressed == 0 {
		return false
	}
	attrs := w.attrs
	if n := w.suppressed - 1; n > 0 { // this line is one of them
		attrs = append(attrs, slog.Uint64("suppressed", n))
	}
	l.log.LogAttrs(context.Background(), w.level, msg, attrs...)
	w.suppressed, w.attrs = 0, nil
	return true
}

// Close writes what is still counted and stops the timers. Lines that come
// later are written as they are.
func (l *Logger) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for msg, w := range l.windows {
		w.timer.Stop()
		l.flush(msg, w)
		delete(l.windows, msg)
	}
}
