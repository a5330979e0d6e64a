package registry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/daemon"
	"github.com/weir-capture/weir/forwarder/registry"
)

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func status(id string) *capturev1.ProxyStatus {
	return &capturev1.ProxyStatus{Source: &capturev1.Source{ProxyId: id}, Version: "v1"}
}

func states(r *registry.Registry) string {
	list, _ := r.Snapshot()
	var s []string
	for _, p := range list {
		dup := ""
		if p.GetDuplicateId() {
			dup = "(dup)"
		}
		s = append(s, p.GetSource().GetProxyId()+":"+strings.TrimPrefix(p.GetState().String(), "STATE_")+dup)
	}
	return strings.Join(s, " ")
}

// run starts a registry in a bubble of fake time.
func run(t *testing.T, f func(r *registry.Registry, log *buffer, expired func() []registry.Epoch)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var log buffer
		var mu sync.Mutex
		var expired []registry.Epoch
		r := registry.New(slog.New(daemon.NewHandler(&log, daemon.Sorted, slog.LevelInfo)), func(e registry.Epoch) {
			mu.Lock()
			defer mu.Unlock()
			expired = append(expired, e)
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		f(r, &log, func() []registry.Epoch {
			mu.Lock()
			defer mu.Unlock()
			return expired
		})
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestR30ReapedAfter45Seconds(t *testing.T) {
	run(t, func(r *registry.Registry, log *buffer, expired func() []registry.Epoch) {
		a, b := registry.Epoch{1}, registry.Epoch{2}
		for e, id := range map[registry.Epoch]string{a: "a", b: "b"} {
			if err := r.Register(e, status(id), 1); err != nil {
				t.Fatal(err)
			}
			if v, ok := r.Connect(e); !ok || v != 1 {
				t.Fatal("registered and unknown")
			}
		}
		sleep(40 * time.Second)
		r.Heartbeat(b, &capturev1.Heartbeat{Counters: &capturev1.Counters{Seen: 7}})
		sleep(4 * time.Second) // 44 s of silence
		if len(expired()) != 0 {
			t.Errorf("reaped after 44 s: %s", states(r))
		}
		sleep(2 * time.Second) // 46 s
		if e := expired(); len(e) != 1 || e[0] != a || states(r) != "b:CONNECTED a:REAPED" {
			t.Errorf("after 46 s: %s", states(r))
		}
		if !strings.Contains(log.String(), `"msg":"REAP proxy ID a last seen 45`) {
			t.Error(log.String())
		}
		if _, ok := r.Connect(a); ok {
			t.Error("a reaped proxy connects without registering")
		}
		// It comes back, with what it had.
		if err := r.Register(a, status("a"), 1); err != nil {
			t.Error(err)
		}
		if _, ok := r.Connect(a); !ok {
			t.Error("registered again and unknown")
		}
		if got := states(r); got != "a:CONNECTED b:CONNECTED" {
			t.Error(got)
		}
		list, _ := r.Snapshot()
		if list[1].GetCounters().GetSeen() != 7 || time.Duration(list[0].GetLastSeen()-list[1].GetLastSeen()) != 6*time.Second {
			t.Errorf("%v", list)
		}
	})
}

func TestStates(t *testing.T) {
	run(t, func(r *registry.Registry, log *buffer, _ func() []registry.Epoch) {
		e := registry.Epoch{1}
		if _, ok := r.Connect(e); ok {
			t.Error("unknown proxy connects")
		}
		want := func(s string) {
			t.Helper()
			if got := states(r); got != s {
				t.Errorf("got %s, want %s", got, s)
			}
		}
		if err := r.Register(e, status("a"), 1); err != nil {
			t.Fatal(err)
		}
		want("a:AWAY")
		r.Connect(e)
		r.Connect(e) // a second stream takes over
		want("a:CONNECTED")
		r.Disconnect(e)
		want("a:CONNECTED")
		r.Disconnect(e)
		want("a:AWAY")
		if err := r.Register(e, status("a"), 1); err != nil { // within its lease
			t.Fatal(err)
		}
		r.Connect(e)
		r.Heartbeat(e, &capturev1.Heartbeat{Now: time.Now().Add(3 * time.Second).UnixNano(), Goodbye: true})
		want("a:STOPPED")
		r.Disconnect(e)
		list, _ := r.Snapshot()
		if time.Duration(list[0].GetClockSkew()) != 3*time.Second {
			t.Errorf("skew %v", list[0].GetClockSkew())
		}
		if n := strings.Count(log.String(), "REGISTER proxy ID a at timestamp \\u003cnil\\u003e"); n != 1 {
			t.Errorf("%d REGISTER lines:\n%s", n, log.String())
		}
	})
}

func TestR30SameIDIsKeptApartAndWarnedAbout(t *testing.T) {
	run(t, func(r *registry.Registry, log *buffer, _ func() []registry.Epoch) {
		for i := range 3 {
			if err := r.Register(registry.Epoch{byte(i)}, status("a"), 1); err != nil {
				t.Fatal(err)
			}
		}
		r.Connect(registry.Epoch{0})
		sleep(2 * time.Second)
		if strings.Contains(log.String(), "same ID") {
			t.Error("warned about a proxy that only went away")
		}
		r.Connect(registry.Epoch{1})
		sleep(2 * time.Second)
		if n := strings.Count(log.String(), "same ID"); n != 1 {
			t.Errorf("%d warnings", n)
		}
		if got := states(r); strings.Count(got, "a:CONNECTED(dup)") != 2 || strings.Count(got, "a:AWAY") != 1 {
			t.Error(got)
		}
		r.Disconnect(registry.Epoch{1})
		sleep(2 * time.Second)
		r.Connect(registry.Epoch{1})
		sleep(2 * time.Second)
		if n := strings.Count(log.String(), "same ID"); n != 2 {
			t.Errorf("%d warnings, want one for each time", n)
		}
	})
}

func TestBounded(t *testing.T) {
	run(t, func(r *registry.Registry, _ *buffer, _ func() []registry.Epoch) {
		epoch := func(i int) registry.Epoch { return registry.Epoch{byte(i), byte(i >> 8), byte(i >> 16)} }
		for i := range registry.MaxLive {
			if err := r.Register(epoch(i), status(fmt.Sprint(i)), 1); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.Register(epoch(registry.MaxLive), status("one more"), 1); !errors.Is(err, registry.ErrTooMany) {
			t.Error(err)
		}
		if err := r.Register(epoch(5), status("5"), 1); err != nil {
			t.Errorf("one that is there already: %v", err)
		}
		sleep(50 * time.Second)
		list, omitted := r.Snapshot()
		if len(list) != registry.MaxPast || omitted != 0 {
			t.Errorf("%d remembered, %d omitted", len(list), omitted)
		}
		for i := range registry.MaxLive {
			if err := r.Register(epoch(20_000+i), status(fmt.Sprint(i)), 1); err != nil {
				t.Fatal(err)
			}
		}
		if list, omitted = r.Snapshot(); len(list) != registry.MaxListed || omitted != registry.MaxPast {
			t.Errorf("%d listed, %d omitted", len(list), omitted)
		}
	})
}

// TestListFitsIntoAMessage: whatever proxies say of themselves, the list goes
// into one message to the analyzer; those that do not fit are counted.
func TestListFitsIntoAMessage(t *testing.T) {
	run(t, func(r *registry.Registry, _ *buffer, _ func() []registry.Epoch) {
		const n = 2_000
		for i := range n {
			st := status(fmt.Sprint(i))
			st.ProxyState = &capturev1.ProxyState{UpstreamError: strings.Repeat("x", 16<<10)}
			if err := r.Register(registry.Epoch{byte(i), byte(i >> 8)}, st, 1); err != nil {
				t.Fatal(err)
			}
		}
		list, omitted := r.Snapshot()
		size := proto.Size(&capturev1.ForwarderStatus{Proxies: list})
		if size > registry.MaxListedBytes || size < registry.MaxListedBytes*9/10 || len(list)+omitted != n {
			t.Errorf("%d listed with %d bytes, %d omitted", len(list), size, omitted)
		}
	})
}

// TestR30WhatAReapedProxySaidStays: its last counters and the time of its end
// are there for as long as it is remembered, and go on when it comes back.
func TestR30WhatAReapedProxySaidStays(t *testing.T) {
	run(t, func(r *registry.Registry, _ *buffer, _ func() []registry.Epoch) {
		e := registry.Epoch{1}
		if err := r.Register(e, status("a"), 1); err != nil {
			t.Fatal(err)
		}
		r.Connect(e)
		began := time.Now()
		r.Heartbeat(e, &capturev1.Heartbeat{Counters: &capturev1.Counters{Seen: 9, Batched: 8}})
		sleep(47 * time.Second)
		list, _ := r.Snapshot()
		p := list[0]
		if p.GetState() != capturev1.ProxyStatus_STATE_REAPED || p.GetCounters().GetSeen() != 9 || p.GetLastSeen() != began.UnixNano() {
			t.Errorf("%v", p)
		}
		if after := time.Duration(p.GetEnded() - began.UnixNano()); after < 44*time.Second || after > 46*time.Second {
			t.Errorf("reaped after %v of silence, want 45 s, give or take one", after)
		}
		if err := r.Register(e, status("a"), 1); err != nil {
			t.Fatal(err)
		}
		if list, _ = r.Snapshot(); len(list) != 1 || list[0].GetCounters().GetSeen() != 9 || list[0].GetEnded() != 0 {
			t.Errorf("after it came back: %v", list)
		}
	})
}

// TestR30OwnStandstillIsNobodysSilence: when this process did not run for a
// minute, the proxies that spoke meanwhile are not given up before they can be
// heard. A slow disk is not their silence either.
func TestR30OwnStandstillIsNobodysSilence(t *testing.T) {
	run(t, func(r *registry.Registry, _ *buffer, _ func() []registry.Epoch) {
		for i, id := range []string{"gone", "alive", "waiting"} {
			if err := r.Register(registry.Epoch{byte(i)}, status(id), 1); err != nil {
				t.Fatal(err)
			}
		}
		release := r.Hold(registry.Epoch{2})
		sleep(20 * time.Second)
		r.Heartbeat(registry.Epoch{1}, &capturev1.Heartbeat{})
		sleep(30 * time.Second)
		if got := states(r); strings.Count(got, "AWAY") != 2 || !strings.Contains(got, "gone:REAPED") {
			t.Error(got)
		}
		release()
		sleep(44 * time.Second)
		if got := states(r); !strings.Contains(got, "waiting:AWAY") || !strings.Contains(got, "alive:REAPED") {
			t.Error(got)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		var log buffer
		// The one who looks at leases is kept from it for a minute.
		r := registry.New(slog.New(daemon.NewHandler(&log, daemon.Sorted, slog.LevelInfo)), func(registry.Epoch) { time.Sleep(time.Minute) })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		if err := r.Register(registry.Epoch{1}, status("gone"), 1); err != nil {
			t.Fatal(err)
		}
		sleep(40 * time.Second)
		if err := r.Register(registry.Epoch{2}, status("alive"), 1); err != nil {
			t.Fatal(err)
		}
		sleep(5*time.Second + time.Minute + time.Second)
		if got := states(r); got != "alive:AWAY gone:REAPED" || !strings.Contains(log.String(), "stood still") {
			t.Errorf("%s\n%s", got, log.String())
		}
		sleep(45 * time.Second)
		if got := states(r); got != "alive:REAPED gone:REAPED" {
			t.Error(got)
		}
		cancel()
		time.Sleep(2 * time.Minute)
		<-done
	})
}
