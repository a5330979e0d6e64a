package stack

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakePart runs until it is stopped, then takes a while.
type fakePart struct {
	name   string
	takes  time.Duration
	fails  error
	events *[]string
	mu     *sync.Mutex
	alone  bool // ends on its own
}

func (f *fakePart) say(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	*f.events = append(*f.events, f.name+" "+what)
}

func (f *fakePart) Run(ctx context.Context) error {
	if !f.alone {
		<-ctx.Done()
	}
	f.say("stopping")
	time.Sleep(f.takes)
	f.say("stopped")
	return f.fails
}

func TestStopsFromTheSourceToTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events []string
		var mu sync.Mutex
		mk := func(name string, takes time.Duration) *fakePart {
			return &fakePart{name: name, takes: takes, events: &events, mu: &mu}
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, cancel)
		err := runInOrder(ctx, []part{{name: "analyzer", Runner: mk("analyzer", time.Second)}, {name: "forwarder", Runner: mk("forwarder", time.Second)}, {name: "goproxy", Runner: mk("goproxy", time.Second)}})
		want := []string{"goproxy stopping", "goproxy stopped", "forwarder stopping", "forwarder stopped", "analyzer stopping", "analyzer stopped"}
		if err != nil || !slices.Equal(events, want) {
			t.Errorf("%v %v", events, err)
		}
	})
}

// TestOneEndsAll: a part that fails takes the others with it, in order, and
// one that does not stop is not waited for without end.
func TestOneEndsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events []string
		var mu sync.Mutex
		forwarder := &fakePart{name: "forwarder", alone: true, fails: errors.New("disk is gone"), events: &events, mu: &mu}
		proxy := &fakePart{name: "goproxy", takes: time.Hour, events: &events, mu: &mu}
		said := func() []string {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(events)
		}
		analyzer := &fakePart{name: "analyzer", events: &events, mu: &mu}
		began := time.Now()
		err := runInOrder(t.Context(), []part{{name: "analyzer", Runner: analyzer}, {name: "forwarder", Runner: forwarder}, {name: "goproxy", Runner: proxy}})
		if err == nil || !strings.Contains(err.Error(), "run forwarder: disk is gone") || !strings.Contains(err.Error(), "stop goproxy: not done after 15s") {
			t.Errorf("%v", err)
		}
		if took := time.Since(began); took != stopTimeout {
			t.Errorf("took %v", took)
		}
		if want := []string{"forwarder stopping", "forwarder stopped", "goproxy stopping", "analyzer stopping", "analyzer stopped"}; !slices.Equal(said(), want) {
			t.Errorf("%v", said())
		}
		time.Sleep(2 * time.Hour) // the late one ends too, so that none is left
	})
}
