package forwarder_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// TestSamplingIsToldAtRunTime: proxies do as SAMPLE_FILE says from the moment
// that it says so, the analyzer hears what they were told, a mistake changes
// nothing.
func TestSamplingIsToldAtRunTime(t *testing.T) {
	a := newAnalyzer(t)
	a.start()
	cfg := config(t, a.addr)
	cfg.SampleFile = filepath.Join(t.TempDir(), "sample")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(cfg.SampleFile, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("shop 1/10\n")
	f := run(t, cfg)

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cc, err := grpc.NewClient("passthrough:///"+f.addr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	client := capturev1.NewProxyServiceClient(cc)
	open := func(epoch byte, app string, version, registered uint32) func() uint32 {
		t.Helper()
		src := newProxy(epoch).source()
		src.App = app
		resp, err := client.Register(ctx, &capturev1.RegisterRequest{Source: src, ApiVersion: version})
		if err != nil || resp.GetSettings().GetKeepOneIn() != registered {
			t.Fatalf("%s registers: %v %v", app, resp, err)
		}
		stream, err := client.Push(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(&capturev1.PushRequest{Kind: &capturev1.PushRequest_Heartbeat{Heartbeat: &capturev1.Heartbeat{Source: src}}}); err != nil {
			t.Fatal(err)
		}
		return func() uint32 {
			t.Helper()
			resp, err := stream.Recv()
			if err != nil || resp.GetSettings() == nil {
				t.Fatalf("%s: %v %v", app, resp, err)
			}
			return resp.GetSettings().GetKeepOneIn()
		}
	}
	shop := open(1, "shop", capturev1.APIVersion, 10)
	other := open(2, "other", capturev1.APIVersion, 0)
	want := func(nextShop, nextOther uint32) {
		t.Helper()
		if s, o := shop(), other(); s != nextShop || o != nextOther {
			t.Errorf("shop is told 1/%d and other 1/%d, want 1/%d and 1/%d", s, o, nextShop, nextOther)
		}
	}
	want(10, 0)
	status := func(keep map[string]uint32) {
		t.Helper()
		poll(t, "a status that says so", func() error {
			if got := a.lastStatus().GetKeepOneIn(); !maps.Equal(got, keep) {
				return fmt.Errorf("%v", got)
			}
			return nil
		})
	}
	status(map[string]uint32{"shop": 10})
	write("shop 1/2 # a quiet day\n* 1/3\n")
	want(2, 3)
	status(map[string]uint32{"shop": 2, "*": 3})
	write("shop 1/4\nother half\n")
	poll(t, "a line about the mistake", func() error {
		if log := f.log.String(); !strings.Contains(log, `"error":"line 2:`) {
			return fmt.Errorf("%s", log)
		}
		return nil
	})
	status(map[string]uint32{"shop": 2, "*": 3})
	// At once, when it is asked to.
	write("shop 1/5\nother 1/6\n")
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	want(5, 6)
}
