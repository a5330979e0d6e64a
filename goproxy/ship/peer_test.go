package ship

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/goproxy/ship/shiptest"
)

// TestR33Forwarders of other releases: the one before is worked with, whatever
// it does not say; so is a later one, whatever it says that nobody here knows;
// one that does not fit is refused with a reason.
func TestR33Forwarders(t *testing.T) {
	unknown := protowire.AppendString(protowire.AppendTag(nil, 500, protowire.BytesType), "news")
	t.Run("the release before", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			y := newYard(t, 64<<20)
			f := &shiptest.Forwarder{ID: "a", OnRegister: func(r *capturev1.RegisterResponse) {
				r.ApiVersion, r.ApiOldest, r.Settings = 0, 0, nil
			}}
			y.reach(f)
			time.Sleep(time.Second)
			y.add(100, 10)
			time.Sleep(time.Second)
			y.exact(100, f)
			if r := f.Registered()[0]; r.ApiVersion != capturev1.APIVersion || r.ApiOldest != capturev1.APIOldest {
				t.Errorf("it was told %v", r)
			}
		})
	})
	t.Run("a later release", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			y := newYard(t, 64<<20)
			f := &shiptest.Forwarder{ID: "a", OnRegister: func(r *capturev1.RegisterResponse) {
				r.ApiVersion, r.ApiOldest = capturev1.APIVersion+1, capturev1.APIVersion
				r.ProtoReflect().SetUnknown(unknown)
			}}
			y.reach(f)
			time.Sleep(time.Second)
			news := &capturev1.PushResponse{}
			news.ProtoReflect().SetUnknown(unknown)
			if err := f.Say(news); err != nil {
				t.Error(err)
			}
			y.add(100, 10)
			time.Sleep(time.Second)
			y.exact(100, f)
			if n := len(f.Registered()); n != 1 {
				t.Errorf("registered %d times", n)
			}
		})
	})
	refusals := map[string]*shiptest.Forwarder{
		"the forwarder needs version 99 at least": {ID: "a", OnRegister: func(r *capturev1.RegisterResponse) { r.ApiVersion, r.ApiOldest = 99, 99 }},
		"it refused the registration: bring it up to date": {
			ID: "a", Refuse: status.Error(codes.FailedPrecondition, "bring it up to date"),
		},
	}
	for reason, f := range refusals {
		t.Run(reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				y := newYard(t, 64<<20)
				leave := y.reach(f)
				y.add(100, 10)
				time.Sleep(10 * time.Minute)
				if n := strings.Count(y.log.String(), reason); n != 1 {
					t.Errorf("said %d times", n)
				}
				if n := strings.Count(y.log.String(), "Attempting to register"); n < 10 || n > 60 {
					t.Errorf("asked %d times in 10 minutes", n)
				}
				if n := len(f.Batches()); n != 0 {
					t.Errorf("it got %d batches", n)
				}
				leave()
				replaced := &shiptest.Forwarder{ID: "a"}
				y.reach(replaced)
				time.Sleep(refusedMax)
				y.exact(100, replaced)
			})
		})
	}
}

// TestSettings: what the forwarder says is passed on, at the registration and
// later; one that says nothing leaves capture to the proxy.
func TestSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var told []string
		y := newYard(t, 64<<20, func(s *Settings) {
			s.Tune = func(set *capturev1.Settings) {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, fmt.Sprint(set != nil, set.GetKeepOneIn()))
			}
		})
		f := &shiptest.Forwarder{ID: "a", OnRegister: func(r *capturev1.RegisterResponse) { r.Settings = &capturev1.Settings{KeepOneIn: 7} }}
		leave := y.reach(f)
		time.Sleep(time.Second)
		for _, n := range []uint32{1, 0} {
			m := &capturev1.PushResponse{Kind: &capturev1.PushResponse_Settings{Settings: &capturev1.Settings{KeepOneIn: n}}}
			if err := f.Say(m); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(time.Second)
		leave()
		y.reach(&shiptest.Forwarder{ID: "b"})
		time.Sleep(10 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		if got := strings.Join(told, " "); got != "true 7 true 1 true 0 false 0" {
			t.Error(got)
		}
	})
}

// TestR30ProxiesComeBackSpread: 500 proxies that lose their forwarder at once
// do not come back at once, and are all back within a second or two.
func TestR30ProxiesComeBackSpread(t *testing.T) {
	const proxies = 500
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var delays []time.Duration
		var broke time.Time
		f := &shiptest.Forwarder{ID: "a", OnRegister: func(*capturev1.RegisterResponse) {
			mu.Lock()
			defer mu.Unlock()
			if !broke.IsZero() {
				delays = append(delays, time.Since(broke))
			}
		}}
		for i := range proxies {
			y := newYard(t, 64<<20, func(s *Settings) { s.Rand = rand.New(rand.NewPCG(uint64(i), 7)).Float64 })
			y.reach(f)
		}
		time.Sleep(6 * time.Second) // a session that was worth its while
		if n := len(f.Registered()); n != proxies {
			t.Fatalf("%d are registered", n)
		}
		mu.Lock()
		broke = time.Now()
		mu.Unlock()
		f.Break()
		time.Sleep(spread + time.Second)
		mu.Lock()
		defer mu.Unlock()
		if len(delays) != proxies {
			t.Fatalf("%d of %d are back", len(delays), proxies)
		}
		slices.Sort(delays)
		var tenths [10]int
		for _, d := range delays {
			if d >= spread {
				t.Errorf("one came after %v", d)
				continue
			}
			tenths[d*10/spread]++
		}
		for i, n := range tenths {
			if n < proxies/20 || n > proxies/6 {
				t.Errorf("%d came in tenth %d of the second: %v", n, i, tenths)
			}
		}
	})
}
