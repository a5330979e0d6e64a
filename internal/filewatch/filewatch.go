// Package filewatch follows a small file that a person may change while a
// program runs. A file that cannot be read, or that makes no sense to whom it
// is for, changes nothing, and is told of once for each of its states.
package filewatch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// pollEvery is how often the file is looked at.
const pollEvery = time.Second

// Watcher follows one file.
type Watcher struct {
	path string
	max  int64
	take func([]byte) error
	fail func(error)
	// taken is what was last acted on; seen is what the last look found.
	taken, seen content
}

// content is what a look at the file found.
type content struct {
	b   []byte
	err string // why it could not be read
}

func (c content) equal(o content) bool { return c.err == o.err && bytes.Equal(c.b, o.b) }

// Watch reads a file of at most max bytes for the first time and gives it to
// take; its error is take's. It starts nothing: Run follows the file, gives
// take what is new, and fail why that could not be read or was not taken.
func Watch(path string, max int64, take func([]byte) error, fail func(error)) (*Watcher, error) {
	w := &Watcher{path: path, max: max, take: take, fail: fail}
	w.taken = w.read()
	w.seen = w.taken
	return w, w.act(w.taken)
}

func (w *Watcher) read() content {
	b, err := Read(w.path, w.max)
	if err != nil {
		return content{err: err.Error()}
	}
	return content{b: b}
}

func (w *Watcher) act(c content) error {
	if c.err != "" {
		return errors.New(c.err)
	}
	return w.take(c.b)
}

// Run looks at the file each second and at each signal of reload, until ctx
// ends, and returns nil. After a signal take is called also when nothing is
// new: somebody waits for an answer.
func (w *Watcher) Run(ctx context.Context, reload <-chan os.Signal) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			w.look(false)
		case <-reload:
			w.look(true)
		case <-ctx.Done():
			return nil
		}
	}
}

// look reads the file. asked: somebody says that it is ready. Otherwise it has
// to look the same twice before it counts: it may be half written.
func (w *Watcher) look(asked bool) {
	// All of it each time: it is small, and no time stamp says as much.
	now := w.read()
	before := w.seen
	w.seen = now
	if !asked && (now.equal(w.taken) || !now.equal(before)) {
		return
	}
	w.taken = now
	if err := w.act(now); err != nil {
		w.fail(err)
	}
}

// Read gives a regular file's bytes, which may be at most max.
func Read(path string, max int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	b, err := io.ReadAll(io.LimitReader(f, max+1))
	if err == nil && int64(len(b)) > max {
		err = fmt.Errorf("more than %d bytes", max)
	}
	return b, err
}
