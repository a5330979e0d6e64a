package fault

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/weir-capture/weir/e2e/harness"
)

// full says that the tests run in their long form, with programs that have
// fail points.
var full = os.Getenv("WEIR_FAULT") == "1"

// scale is the first in CI, and the second in the long form.
func scale[T any](short, long T) T {
	if full {
		return long
	}
	return short
}

// bins is set once, before any test.
var bins *harness.Bins

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e/fault:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	flag.Parse()
	// Most of the time these tests wait, so that more of them than there are
	// processors may run at once.
	if err := flag.Set("test.parallel", scale("5", "3")); err != nil {
		return 1, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	if bins, err = harness.OpenBins(ctx); err != nil {
		return 1, err
	}
	defer func() {
		err = errors.Join(err, bins.Close())
		if olderDir != "" {
			err = errors.Join(err, os.RemoveAll(olderDir))
		}
	}()
	return m.Run(), nil
}

// long leaves a test out of the short form: the promise says that it is for a
// run by hand. `make fault` runs it.
func long(t *testing.T) {
	t.Helper()
	if !full {
		t.Skip("runs in `make fault`")
	}
}
