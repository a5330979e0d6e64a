package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func env(vars map[string]string) *Env {
	return NewEnv(func(k string) (string, bool) { v, ok := vars[k]; return v, ok })
}

func TestEveryMistakeIsNamedInOneRun(t *testing.T) {
	e := env(map[string]string{"PORT": "70000", "SIZE": "3 bananas", "MODE": "forward", "WAIT": "-1s", "ADDR": "nowhere", "B": "maybe", "LATER": "x"})
	e.Required("NAME", "a name")
	e.Port("PORT", -1)
	e.Size("SIZE", 1)
	e.OneOf("MODE", "", []string{"reverse"}, "forward")
	e.Duration("WAIT", 0)
	e.Addr("ADDR", "")
	e.Bool("B", false)
	e.Unsupported("LATER", "NEVER")
	got := e.Err().Error()
	want := strings.Join([]string{
		`NAME is not set; want a name`,
		`PORT="70000" is not valid; want a port, 1 to 65535`,
		`SIZE="3 bananas" is not valid; want a size such as 512KiB, 64MiB or 2GiB`,
		`MODE="forward": not supported by this version; want reverse`,
		`WAIT="-1s" is not valid; want a duration such as 500ms, 25s or 5m`,
		`ADDR="nowhere" is not valid; want "host:port"`,
		`B="maybe" is not valid; want true or false`,
		`LATER="x": not supported by this version; want it unset`,
	}, "\n")
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// TestS31Slips: a variable that is misspelt is named, with the one that was
// meant; those of others are left alone.
func TestS31Slips(t *testing.T) {
	e := env(map[string]string{"DLP_CONFIG": "standard"})
	e.String("DLP_CONFIG", "")
	e.String("LOG_LEVEL", "")
	e.String("PROXY_TOKENS_FILE", "")
	e.Secret("ANALYZER_TOKEN")
	got := e.Slips([]string{
		"DLP_CONFIG=standard", "DLP_CONIFG=standard", "PROXY_TOKEN_FILES=/x", "ANALYZER_TOKN_FILE=/y", "ANALYZER_TOKEN_FILE=/z",
		"LOGLEVEL=debug", "PATH=/bin", "ANALYZER_PORT=tcp://10.0.0.1:4000", "DLP_CONFIGS=", "HOME=/", "=C:=x", "nothing",
	})
	want := []Slip{{"ANALYZER_TOKN_FILE", "ANALYZER_TOKEN_FILE"}, {"DLP_CONIFG", "DLP_CONFIG"}, {"PROXY_TOKEN_FILES", "PROXY_TOKENS_FILE"}}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestTextIsUTF8(t *testing.T) {
	e := env(map[string]string{"APP": "caf\xe9", "POD": "caf\xe9", "ADDR": "caf\xe9:80"})
	if v := e.Required("APP", "a name") + e.String("POD", "") + e.Addr("ADDR", ""); v != "" {
		t.Errorf("%q", v)
	}
	want := `APP="caf\xe9": not UTF-8; want text in UTF-8` + "\n" + `POD="caf\xe9": not UTF-8; want text in UTF-8` + "\n" + `ADDR="caf\xe9:80" is not valid; want "host:port"`
	if err := e.Err(); err == nil || err.Error() != want {
		t.Errorf("%v\nwant %s", err, want)
	}
}

// TestCredentialsAreNotShown: people put user and password into an address, and
// logs go further than they think.
func TestCredentialsAreNotShown(t *testing.T) {
	for value, shown := range map[string]string{
		"me:s3cret@h:80":                "…@h:80",
		"me:x@s3cret@h:80":              "…@h:80",
		"http://me:s3cret@h:80/x":       "http://…@h:80/x",
		"http://s3cret@h:80":            "http://…@h:80",
		"http://me:s3cr/et@s3cret@h:80": "http://…@h:80",
		`me:"s3cret'@h:80`:              "…@h:80",
		"see http://me:s3cret@h:80 now": "see http://…@h:80 now",
		"a@b.c":                         "a@b.c", // no address of a server
		"http://h:80/x":                 "http://h:80/x",
	} {
		e := env(map[string]string{"ADDR": value, "OTHER": value})
		if v := e.Addr("ADDR", ""); v != "" {
			t.Errorf("%s is taken as an address", value)
		}
		e.Fail("OTHER", "read "+value+": no such file", "a file")
		want := fmt.Sprintf("ADDR=%q is not valid; want \"host:port\"\nOTHER=%q: ", shown, shown)
		if got := e.Err().Error(); !strings.HasPrefix(got, want) || strings.Contains(got, "s3cr") || strings.Contains(got, "et@") {
			t.Errorf("%s:\n%s\nwant %s", value, got, want)
		}
		var log bytes.Buffer
		status := Main(&log, Ordered, func(*Env) (string, slog.Level) { return value, slog.LevelInfo },
			func(v string, _ *slog.Logger) (Runner, error) {
				return nil, fmt.Errorf("reach %s: %w", v, os.ErrNotExist)
			})
		if got := log.String(); status != ExitFailed || strings.Contains(got, "s3cr") || !strings.Contains(got, "Could not start") {
			t.Errorf("%d %s", status, got)
		}
	}
}

func TestValues(t *testing.T) {
	e := env(map[string]string{"SIZE": "64MiB", "AGE": "7d", "PORT": "0", "EMPTY": "", "ADDR": "[::1]:80"})
	if v := e.Size("SIZE", 0); v != 64<<20 {
		t.Error(v)
	}
	if v := e.Duration("AGE", 0); v != 7*24*time.Hour {
		t.Error(v)
	}
	if v := e.Port("PORT", 80); v != 0 {
		t.Error(v)
	}
	if v := e.String("EMPTY", "def"); v != "def" {
		t.Error(v)
	}
	if v := e.Addr("ADDR", ""); v != "[::1]:80" {
		t.Error(v)
	}
	if v := e.Addr("NONE", AddrOptional); v != "" {
		t.Error(v)
	}
	if err := e.Err(); err != nil {
		t.Error(err)
	}
}

func TestSecretComesFromAFileAndIsNeverShown(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	e := env(map[string]string{"TOKEN_FILE": file})
	if v := e.Secret("TOKEN"); v != "s3cret" || e.Err() != nil {
		t.Errorf("%q %v", v, e.Err())
	}
	e = env(map[string]string{"TOKEN_FILE": file, "TOKEN": "other"})
	e.Secret("TOKEN")
	if err := e.Err(); err == nil || strings.Contains(err.Error(), "other") {
		t.Error(err)
	}
	e = env(map[string]string{"LATER_FILE": file, "LATER": "other"})
	e.UnsupportedSecrets("LATER")
	if err := e.Err(); err == nil || strings.Contains(err.Error(), "other") || strings.Count(err.Error(), "not supported") != 2 {
		t.Error(err)
	}
	e = env(map[string]string{"TOKEN_FILE": file + ".missing"})
	e.Secret("TOKEN")
	if err := e.Err(); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Error(err)
	}
}

func TestLogShapes(t *testing.T) {
	at := time.Date(2020, 12, 13, 14, 25, 3, 758e6, time.UTC)
	line := func(shape Shape, msg string, attrs ...slog.Attr) string {
		var b bytes.Buffer
		r := slog.NewRecord(at, slog.LevelInfo, msg, 0)
		r.AddAttrs(attrs...)
		if err := NewHandler(&b, shape, slog.LevelInfo).Handle(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	for _, c := range []struct{ got, want string }{
		{
			line(Ordered, "Starting proxy listener", slog.String("network", "tcp"), slog.String("addr", ":4143")),
			`{"info":"INFO","T":"2020-12-13T14:25:03.758Z","M":"Starting proxy listener","network":"tcp","addr":":4143"}` + "\n",
		},
		{
			line(Ordered, "x", slog.Duration("duration", 114), slog.Uint64("cid", 0), slog.Any("error", errors.New("a \"b\""))),
			`{"info":"INFO","T":"2020-12-13T14:25:03.758Z","M":"x","duration":"114ns","cid":0,"error":"a \"b\""}` + "\n",
		},
		{
			line(Sorted, "REGISTER proxy ID a at timestamp <nil>"),
			`{"level":"info","msg":"REGISTER proxy ID a at timestamp \u003cnil\u003e","time":"2020-12-13T14:25:03Z"}` + "\n",
		},
		{
			line(Sorted, "x", slog.String("addr", "a"), slog.Int("port", 1)),
			`{"addr":"a","level":"info","msg":"x","port":1,"time":"2020-12-13T14:25:03Z"}` + "\n",
		},
	} {
		if c.got != c.want {
			t.Errorf("got  %swant %s", c.got, c.want)
		}
	}
}

func TestHangups(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	hangups := Hangups(ctx)
	for range 2 {
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		select {
		case s := <-hangups:
			if s != syscall.SIGHUP {
				t.Errorf("%v", s)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("no signal")
		}
	}
}
