// Command table reads the output of fault tests, copies it, and prints the
// lines that they left as one table at the end. It fails when a line has
// anything lost, twice, phantom or leaked, or when there is none.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/weir-capture/weir/internal/faultreport"
)

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "table:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) error {
	var lines []faultreport.Line
	var bad []error
	sc := bufio.NewScanner(in)
	sc.Buffer(nil, 16<<20)
	for sc.Scan() {
		if _, err := fmt.Fprintln(out, sc.Text()); err != nil {
			return err
		}
		l, found, err := faultreport.Parse(sc.Text())
		switch {
		case err != nil:
			bad = append(bad, err)
		case found:
			lines = append(lines, l)
			if !l.OK() {
				bad = append(bad, fmt.Errorf("%s: %d lost, %d twice, %d phantom, %d leaks", l.Fault, l.Lost, l.Twice, l.Phantom, l.Leaks))
			}
		}
	}
	if err := sc.Err(); err != nil {
		return fmt.Errorf("read output: %w", err)
	}
	if len(lines) == 0 {
		return errors.New("no test left a line")
	}
	if _, err := fmt.Fprintln(out); err != nil {
		return err
	}
	return errors.Join(append(bad, faultreport.Table(out, lines))...)
}
