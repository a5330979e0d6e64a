//go:build linux || darwin

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// passwords asks on the terminal for what is not to be shown; nil when standard
// input is none.
func passwords() func(context.Context, string) (string, error) {
	if _, err := unix.IoctlGetTermios(int(os.Stdin.Fd()), getTermios); err != nil {
		return nil
	}
	in := bufio.NewReader(io.LimitReader(os.Stdin, 4096))
	return func(ctx context.Context, prompt string) (_ string, err error) {
		before, err := unix.IoctlGetTermios(int(os.Stdin.Fd()), getTermios)
		if err != nil {
			return "", fmt.Errorf("read terminal: %w", err)
		}
		silent := *before
		silent.Lflag &^= unix.ECHO
		silent.Lflag |= unix.ICANON | unix.ISIG
		if err := unix.IoctlSetTermios(int(os.Stdin.Fd()), setTermios, &silent); err != nil {
			return "", fmt.Errorf("silence terminal: %w", err)
		}
		defer func() {
			if e := unix.IoctlSetTermios(int(os.Stdin.Fd()), setTermios, before); err == nil && e != nil {
				err = fmt.Errorf("restore terminal: %w", e)
			}
			fmt.Fprintln(os.Stderr) // the one that was typed was not shown either
		}()
		fmt.Fprint(os.Stderr, prompt)
		type answer struct {
			line string
			err  error
		}
		read := make(chan answer, 1)
		go func() { // a read of a terminal ends with its line, or with the process
			line, err := in.ReadString('\n')
			read <- answer{line, err}
		}()
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case a := <-read:
			return strings.TrimRight(a.line, "\r\n"), a.err
		}
	}
}
