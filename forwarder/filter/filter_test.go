package filter_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/forwarder/filter"
	"github.com/weir-capture/weir/query"
)

func pair(method, target, agent string) *capturev1.RRPair {
	path, query, _ := strings.Cut(target, "?")
	head := method + " " + target + " HTTP/1.1\r\nHost: shop\r\n"
	if agent != "" {
		head += "user-agent: " + agent + "\r\n"
	}
	return &capturev1.RRPair{
		Protocol: "http", Method: method, Path: path, Query: query, Status: 200,
		Request: &capturev1.Message{Head: []byte(head + "\r\n")}, Response: &capturev1.Message{Head: []byte("HTTP/1.1 200 OK\r\n\r\n")},
	}
}

func TestStandard(t *testing.T) {
	f, err := filter.Load("standard")
	if err != nil {
		t.Fatal(err)
	}
	if f.Name() != "standard" {
		t.Error(f.Name())
	}
	for _, c := range []struct{ method, target, agent, want string }{
		{"GET", "/healthz", "", "health_check"},
		{"GET", "/healthz?verbose=1", "curl/8.0", "health_check"},
		{"HEAD", "/livez", "", "health_check"},
		{"GET", "/readyz/etcd", "", "health_check"},
		{"GET", "/actuator/health/readiness", "", "health_check"},
		{"GET", "/anything", "kube-probe/1.30", "health_check"},
		{"GET", "/", "ELB-HealthChecker/2.0", "health_check"},
		{"GET", "/", "GoogleHC/1.0", "health_check"},
		{"GET", "/", "Envoy/HC", "health_check"},
		{"GET", "/", "Consul Health Check", "health_check"},
		{"GET", "/metrics", "Prometheus/2.53.0", "monitoring_agent"},
		{"GET", "/metrics", "vmagent", "monitoring_agent"},
		{"GET", "/status", "Datadog Agent/7.50", "monitoring_agent"},
		{"GET", "/", "Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)", "monitoring_agent"},
		{"GET", "/", "check_http/v2.3.3 (nagios-plugins 2.3.3)", "monitoring_agent"},

		{"GET", "/", "", ""},
		{"GET", "/products", "Mozilla/5.0", ""},
		{"POST", "/healthz", "curl/8.0", ""}, // nobody probes by POST
		{"GET", "/health/records/17", "curl/8.0", ""},
		{"GET", "/healthzzz", "", ""},
		{"GET", "/metrics", "curl/8.0", ""},
		{"GET", "/ready", "", ""},
		{"GET", "/", "my kube-probe/1.30", ""},
	} {
		if got, _ := f.Match(pair(c.method, c.target, c.agent)); got != c.want {
			t.Errorf("%s %s by %q: %q, want %q", c.method, c.target, c.agent, got, c.want)
		}
	}
	if _, ok := f.Match(&capturev1.RRPair{Protocol: "opaque"}); ok {
		t.Error("an opaque connection is left out")
	}
}

func TestExpressionFileAndNone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rules")
	if err := os.WriteFile(file, []byte("# what we do not keep\n\nstatic: path:/static/*\nok_get: method:GET status:2xx path:/ping\nstandard\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ setting, target, want string }{
		{"path:/static/*", "/static/a.css", "expression"},
		{"path:/static/*", "/cart", ""},
		{"path:/static/* OR path:/cart", "/cart", "expression"},
		{file, "/static/a.css", "static"},
		{file, "/ping", "ok_get"},
		{file, "/healthz", "health_check"},
		{file, "/cart", ""},
		{"none", "/healthz", ""},
		{"", "/healthz", ""},
	} {
		f, err := filter.Load(c.setting)
		if err != nil {
			t.Errorf("%q: %v", c.setting, err)
			continue
		}
		if got, ok := f.Match(pair("GET", c.target, "")); got != c.want || ok != (c.want != "") {
			t.Errorf("%q, %s: %q, want %q", c.setting, c.target, got, c.want)
		}
	}
}

func TestMistakes(t *testing.T) {
	dir := t.TempDir()
	write := func(content string) string {
		f, err := os.CreateTemp(dir, "rules")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString(content); err != nil {
			t.Fatal(err)
		}
		return f.Name()
	}
	for setting, want := range map[string]string{
		"stauts:500":                               `Unknown field "stauts" at column 1. Did you mean status?`,
		"/etc/weir/no-such-file":                   "no such file",
		write("a: path:/x\n\nb: stauts:1\n"):       `line 3: Unknown field "stauts" at column 1`,
		write("path:/x\n"):                         `line 1: want "name: expression"`,
		write("a: path:/x\na: path:/y\n"):          `line 2: rule "a" is there twice`,
		write("a:  \n"):                            `line 1: want "name: expression"`,
		write(strings.Repeat("x", 2<<20)):          "at most",
		write(strings.Repeat("standard\n", 2)):     "there twice",
		write("a b: path:/x\n"):                    `line 1: want "name: expression"`,
		write("standard\nhealth_check: path:/x\n"): "there twice",
	} {
		if _, err := filter.Load(setting); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %s", setting, err, want)
		}
	}
}

// TestRules: people can read what filters, in the order in which it does.
func TestRules(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rules")
	if err := os.WriteFile(path, []byte("# mine\nstatic: path:/static/*\nstandard\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := filter.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range f.Rules() {
		names = append(names, r.GetName())
		if _, err := query.Parse(r.GetExpression()); err != nil {
			t.Errorf("%s: %v", r.GetName(), err)
		}
	}
	if got := strings.Join(names, " "); got != "static health_check monitoring_agent" || f.Rules()[0].GetExpression() != "path:/static/*" {
		t.Errorf("%s: %v", got, f.Rules()[0])
	}
	if f, err = filter.Load(filter.None); err != nil || len(f.Rules()) > 0 {
		t.Errorf("%v %v", f.Rules(), err)
	}
}
