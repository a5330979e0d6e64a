//go:build failpoints

package spool_test

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/weir-capture/weir/internal/failpoint"
	"github.com/weir-capture/weir/internal/vfs"
	"github.com/weir-capture/weir/spool"
)

var failOptions = spool.Options{MaxBytes: 32 << 10, SegmentBytes: 2 << 10, WhenFull: spool.DropOldest, Cursors: []string{"a"}}

// TestMain is also the program that a fail point ends: it takes batches, reads
// some, and says each that it has acknowledged.
func TestMain(m *testing.M) {
	dir := os.Getenv("SPOOL_UNDER_TEST")
	if dir == "" {
		os.Exit(m.Run())
	}
	if err := child(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func child(dir string) error {
	d, err := vfs.Dir(dir)
	if err != nil {
		return err
	}
	o, err := openOwner(d, failOptions)
	if err != nil {
		return err
	}
	for n := 0; n < 300; {
		if _, err := o.take(n); err != nil {
			fmt.Println("refused", n)
		} else {
			fmt.Println("acked", n)
			n++
		}
		if n%10 == 0 {
			if err := o.Cursor("a").Advance(o.Log().End()); err != nil {
				fmt.Println("stuck", n)
			}
			fmt.Println("read", n)
		}
	}
	return o.Close()
}

// TestFailPoints kills a process at each place of the spool, the first and a
// later time, and lets each fail: what it had acknowledged is there, or was
// read.
func TestFailPoints(t *testing.T) {
	for _, point := range []string{failpoint.SpoolAfterWrite, failpoint.SpoolAfterFsync, failpoint.SpoolAfterCursorFsync, failpoint.SpoolAfterUnlink} {
		for _, action := range []string{"kill@1", "kill@7", "error@1", "error@5"} {
			t.Run(point+"="+action, func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "spool")
				cmd := exec.CommandContext(t.Context(), os.Args[0])
				cmd.Env = append(os.Environ(), "SPOOL_UNDER_TEST="+dir, "FAILPOINTS="+point+"="+action)
				var out, errs bytes.Buffer
				cmd.Stdout, cmd.Stderr = &out, &errs
				err := cmd.Run()
				if killed := cmd.ProcessState.ExitCode() == -1; killed != (action[0] == 'k') {
					t.Fatalf("ended with %v: %s", err, errs.String())
				}
				acked, read, tried := 0, 0, 0
				for lines := bufio.NewScanner(&out); lines.Scan(); {
					var what string
					var n int
					if _, err := fmt.Sscan(lines.Text(), &what, &n); err != nil {
						t.Fatal(err)
					}
					switch what {
					case "acked":
						acked = n + 1
					case "read":
						read = n
					}
				}
				tried = acked + 1
				d, err := vfs.Dir(dir)
				if err != nil {
					t.Fatal(err)
				}
				o, err := openOwner(d, failOptions)
				if err != nil {
					t.Fatal(err)
				}
				defer o.Close()
				if acked > 0 {
					c := contentsFrom(t, o.Spool, o.Cursor("a").Offset())
					for n := range acked {
						if !o.accepted[n] {
							t.Fatalf("batch %d was acknowledged and is not known", n)
						}
						if _, here := c.batches[n]; !here && !c.declared[n] && n >= read+10 {
							t.Fatalf("batch %d of %d is lost; %d were read", n, acked, read)
						}
					}
					for n := range c.batches {
						if n >= tried {
							t.Fatalf("batch %d was never sent", n)
						}
					}
				}
				t.Log(strconv.Itoa(acked) + " acknowledged")
			})
		}
	}
}
