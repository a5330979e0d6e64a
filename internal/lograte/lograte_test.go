package lograte

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestOneLineAnInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		h := slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
				return slog.Attr{}
			}
			return a
		}})
		l := New(slog.New(h), time.Second)
		for i := range 25 { // 0 s … 2.4 s
			l.Log(slog.LevelError, "dial", slog.Int("n", i))
			if i == 3 {
				l.Log(slog.LevelError, "other")
			}
			l.Log(slog.LevelDebug, "dial")
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(5 * time.Second)
		l.Log(slog.LevelError, "dial", slog.Int("n", 99))
		l.Log(slog.LevelError, "dial", slog.Int("n", 100))
		l.Close()
		l.Log(slog.LevelError, "dial", slog.Int("n", 101))

		// Every line that was asked for is either there or counted.
		var lines, suppressed int
		for line := range strings.Lines(out.String()) {
			if !strings.Contains(line, "dial") {
				continue
			}
			lines++
			if _, n, ok := strings.Cut(line, "suppressed="); ok {
				var v int
				fmt.Sscan(n, &v)
				suppressed += v
			}
		}
		if lines != 7 || lines+suppressed != 28 {
			t.Errorf("%d lines, %d suppressed:\n%s", lines, suppressed, out.String())
		}
		if strings.Count(out.String(), "other") != 1 {
			t.Errorf("another message is limited by itself:\n%s", out.String())
		}
	})
}
