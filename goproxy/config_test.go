package goproxy

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/weir-capture/weir/daemon"
	"github.com/weir-capture/weir/internal/access"
)

func load(vars map[string]string) (Config, error) {
	env := daemon.NewEnv(func(k string) (string, bool) { v, ok := vars[k]; return v, ok })
	cfg := LoadConfig(env)
	return cfg, env.Err()
}

func lines(s ...string) string { return strings.Join(s, "\n") }

func TestEveryMissingVariableIsNamed(t *testing.T) {
	_, err := load(nil)
	want := lines(
		`PROXY_TYPE is not set; want reverse`,
		`PROXY_IN_PORT is not set; want a port, 1 to 65535`,
		`APP_LABEL is not set; want the name of the application, shared by its instances`,
		`APP_POD_NAME is not set; want a unique id of this instance, such as its host name`,
		`FORWARDER_ADDR is not set; want "host:port"`,
	)
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestEveryWrongVariableIsNamed(t *testing.T) {
	_, err := load(map[string]string{
		"PROXY_TYPE": "dual", "PROXY_IN_PORT": "http", "REVERSE_PROXY_HOST": "http://app:80/", "REVERSE_PROXY_PORT": "0", "PROXY_PROTOCOL": "v1",
		"APP_LABEL": "a", "APP_POD_NAME": "p", "FORWARDER_ADDR": "forwarder", "LOG_LEVEL": "loud", "CAPTURE": "perhaps",
		"CAPTURE_BODY_LIMIT": "1GiB", "CAPTURE_MEMORY_LIMIT": "1KiB", "CAPTURE_SAMPLE": "10%", "CAPTURE_SPOOL_BYTES": "1MiB", "DRAIN_DELAY": "soon", "DRAIN_TIMEOUT": "-1s",
		"METRICS_HTTP_ENABLE": "2", "METRICS_HTTP_PORT": "99999", "DIAGNOSTICS_ADDR": "4100", "DIAGNOSTICS_PPROF": "please",
		"FORWARDER_TOKEN": "s3cret s3cret", "FORWARDER_TLS": "on", "FORWARDER_CA_FILE": "a", "FORWARDER_CERT_FILE": "b", "FORWARDER_KEY_FILE": "c",
	})
	want := lines(
		`PROXY_TYPE="dual": not supported by this version; want reverse`,
		`PROXY_IN_PORT="http" is not valid; want a port, 1 to 65535`,
		`REVERSE_PROXY_HOST="http://app:80/": not a host; want a host name or an address, without scheme and port`,
		`REVERSE_PROXY_PORT="0": nothing listens there; want a port, 1 to 65535`,
		`PROXY_PROTOCOL="v1" is not valid; want off or v2`,
		`FORWARDER_ADDR="forwarder" is not valid; want "host:port"`,
		`LOG_LEVEL="loud" is not valid; want debug or info or warn or error`,
		`CAPTURE="perhaps" is not valid; want true or false`,
		`CAPTURE_BODY_LIMIT="1GiB": too large; want at most 6MiB`,
		`CAPTURE_MEMORY_LIMIT="1KiB": too small; want at least 1MiB`,
		`CAPTURE_SAMPLE="10%": not a rate; want 1/N, one connection in N, with N from 1 to 1000000`,
		`CAPTURE_SPOOL_BYTES="1MiB": too small; want at least 16MiB`,
		`DRAIN_DELAY="soon" is not valid; want a duration such as 500ms, 25s or 5m`,
		`DRAIN_TIMEOUT="-1s" is not valid; want a duration such as 500ms, 25s or 5m`,
		`METRICS_HTTP_ENABLE="2" is not valid; want true or false`,
		`METRICS_HTTP_PORT="99999" is not valid; want a port, 1 to 65535`,
		`DIAGNOSTICS_ADDR="4100" is not valid; want "host:port"`,
		`DIAGNOSTICS_PPROF="please" is not valid; want true or false`,
		`FORWARDER_TOKEN="(not shown)": it has characters that no token has; want the token that weir key printed`,
		`FORWARDER_CERT_FILE="b": no such file or directory; want a PEM file with a certificate and its chain`,
		`FORWARDER_KEY_FILE="c": no such file or directory; want a PEM file with the key of FORWARDER_CERT_FILE`,
		`FORWARDER_CA_FILE="a": no such file or directory; want a PEM file with certificates of authorities`,
	)
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	for _, kind := range []string{"forward", "transparent"} {
		if _, err := load(map[string]string{"PROXY_TYPE": kind}); !strings.Contains(err.Error(), `PROXY_TYPE="`+kind+`": not supported by this version; want reverse`) {
			t.Error(err)
		}
	}
}

func TestDefaults(t *testing.T) {
	vars := map[string]string{"PROXY_TYPE": "reverse", "PROXY_IN_PORT": "4143", "APP_LABEL": "my_app", "APP_POD_NAME": "host", "FORWARDER_ADDR": "host:8888"}
	cfg, err := load(vars)
	want := Config{
		InPort: 4143, UpstreamHost: "localhost", UpstreamPort: 80, App: "my_app", Pod: "host", Forwarder: "host:8888", LogLevel: slog.LevelInfo,
		Access:  access.Config{Prefix: "FORWARDER"},
		Capture: true, BodyLimit: 1 << 20, MemoryLimit: 64 << 20, KeepOneIn: 1, SpoolBytes: 1 << 30, DrainTimeout: 25 * time.Second, MetricsPort: 4145, DiagnosticsAddr: "127.0.0.1:4100",
	}
	if err != nil || cfg != want {
		t.Errorf("%+v %v", cfg, err)
	}
	vars["DIAGNOSTICS_ADDR"] = ""
	vars["REVERSE_PROXY_HOST"] = "[::1]"
	vars["CAPTURE"] = "off"
	vars["PROXY_PROTOCOL"] = "v2"
	vars["DIAGNOSTICS_PPROF"] = "on"
	cfg, err = load(vars)
	if err != nil || !cfg.ProxyV2 || !cfg.Pprof || cfg.DiagnosticsAddr != "" || cfg.upstream() != "[::1]:80" || cfg.Capture {
		t.Errorf("%+v %v", cfg, err)
	}
}

func TestRates(t *testing.T) {
	vars := map[string]string{"PROXY_TYPE": "reverse", "PROXY_IN_PORT": "4143", "APP_LABEL": "my_app", "APP_POD_NAME": "host", "FORWARDER_ADDR": "host:8888"}
	for rate, want := range map[string]uint32{"": 1, "1/1": 1, "1/10": 10, "1/1000000": 1000000} {
		vars["CAPTURE_SAMPLE"] = rate
		if cfg, err := load(vars); err != nil || cfg.KeepOneIn != want {
			t.Errorf("%q: 1/%d, %v", rate, cfg.KeepOneIn, err)
		}
	}
	for _, rate := range []string{"1", "10", "2/10", "1/0", "1/-1", "1/1000001", "1/", "/10", "1/10/2", "0.1", "1/1e3", "1 / 10"} {
		vars["CAPTURE_SAMPLE"] = rate
		if _, err := load(vars); err == nil || !strings.HasPrefix(err.Error(), `CAPTURE_SAMPLE="`+rate+`": not a rate; want 1/N`) {
			t.Errorf("%q: %v", rate, err)
		}
	}
}

func TestTheRing(t *testing.T) {
	vars := map[string]string{
		"PROXY_TYPE": "reverse", "PROXY_IN_PORT": "4143", "APP_LABEL": "my_app", "APP_POD_NAME": "host", "FORWARDER_ADDR": "host:8888",
		"CAPTURE_SPOOL_DIR": "/var/lib/weir/ring", "CAPTURE_SPOOL_BYTES": "16MiB",
	}
	if cfg, err := load(vars); err != nil || cfg.SpoolDir != "/var/lib/weir/ring" || cfg.SpoolBytes != 16<<20 {
		t.Errorf("%+v %v", cfg, err)
	}
	for value, want := range map[string]string{"0": "too small", "16MB": "is not valid", "-1": "is not valid"} {
		vars["CAPTURE_SPOOL_BYTES"] = value
		if _, err := load(vars); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", value, err)
		}
	}
}
