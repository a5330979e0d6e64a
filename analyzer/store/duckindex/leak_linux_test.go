package duckindex

import (
	"context"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weir-capture/weir/analyzer/store/index"
)

// TestCancelledLeaveNothing (R38): many statements that are cancelled at any
// moment end soon, take no memory with them and keep no file open.
func TestCancelledLeaveNothing(t *testing.T) {
	x, _, _ := filled(t, Options{}, 4000, 0)
	sum := index.Sum{Selection: everything()}
	round := func() (cancelled int) {
		for i := range 150 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i*i/4)*time.Microsecond)
			_, err := x.Endpoints(ctx, index.Endpoints{Sum: sum})
			if err == nil {
				_, err = x.Rows(ctx, index.Page{Selection: everything(), Limit: math.MaxInt32})
			}
			if err != nil {
				if ctx.Err() == nil {
					t.Fatal(err)
				}
				cancelled++
				if late := time.Since(deadline(ctx)); late > time.Second {
					t.Errorf("ended %v after its context", late)
				}
			}
			cancel()
		}
		return cancelled
	}
	round()
	before, cancelled := resident(t), 0
	for range 4 {
		cancelled += round()
	}
	if cancelled < 50 {
		t.Errorf("only %d were cancelled: the test proves little", cancelled)
	}
	if grown := resident(t) - before; grown > 64<<10 {
		t.Errorf("%d KiB more after %d cancelled statements", grown, cancelled)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	links, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if name, err := os.Readlink("/proc/self/fd/" + l.Name()); err == nil && strings.HasPrefix(name, t.TempDir()[:len(t.TempDir())-4]) && strings.Contains(name, fileExt) {
			t.Errorf("%s is still open", name)
		}
	}
}

func deadline(ctx context.Context) time.Time {
	d, _ := ctx.Deadline()
	return d
}

// resident is the memory of the process, in KiB.
func resident(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmRSS:" {
			n, err := strconv.Atoi(f[1])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("no VmRSS")
	return 0
}
