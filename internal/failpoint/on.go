//go:build failpoints

package failpoint

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Enabled says whether this program can fail on purpose.
const Enabled = true

// point is one entry of FAILPOINTS.
type point struct {
	action string
	left   int // reaches until it happens
}

// load reads FAILPOINTS. A mistake in it ends the program: a test that asks
// for a fault which cannot happen would pass for the wrong reason.
var load = sync.OnceValue(func() map[string]*point {
	points, err := parse(os.Getenv("FAILPOINTS"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	return points
})

func parse(list string) (map[string]*point, error) {
	points := map[string]*point{}
	for entry := range strings.SplitSeq(list, ";") {
		if entry == "" {
			continue
		}
		name, what, ok := strings.Cut(entry, "=")
		action, count, counted := strings.Cut(what, "@")
		n := 1
		var err error
		if counted {
			n, err = strconv.Atoi(count)
		}
		known := false
		for _, k := range Names() {
			known = known || k == name
		}
		if !ok || !known || err != nil || n < 1 || action != "kill" && action != "error" && action != "hang" {
			return nil, fmt.Errorf("FAILPOINTS: %q is no name=kill|error|hang@count; names are %s", entry, strings.Join(Names(), ", "))
		}
		points[name] = &point{action, n}
	}
	return points, nil
}

var mu sync.Mutex

// Hit says that a place was reached.
func Hit(name string) error {
	mu.Lock()
	p := load()[name]
	due := false
	if p != nil {
		p.left--
		due = p.left == 0
	}
	mu.Unlock()
	if !due {
		return nil
	}
	switch p.action {
	case "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "hang":
		select {}
	}
	return fmt.Errorf("%w at %s", ErrInjected, name)
}
