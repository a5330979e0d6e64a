// Package filter leaves out pairs that nobody wants to keep: health checks
// and monitoring agents, or what an expression of the query language finds.
// What is left out is counted by the name of the rule.
package filter

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/query"
)

const (
	// Standard names the rules that are on unless somebody says otherwise.
	Standard = "standard"
	// None turns filtering off.
	None = "none"
	// expression is the rule's name when there is only one, without a name.
	expression = "expression"

	// maxRules bounds the names that counts are kept under.
	maxRules   = 64
	maxNameLen = 64
	// maxFileBytes bounds a file of rules.
	maxFileBytes = 1 << 20
)

// Filter decides which pairs are left out. It does not change and may be used
// by many goroutines at once. The zero value lets everything through.
type Filter struct {
	name  string
	rules []rule
}

type rule struct {
	name, expr string
	m          *query.Matcher
}

// Load reads what FILTER_RULE holds: "standard", "none", the path of a file
// with one "name: expression" a line, or an expression. A line "standard" in a
// file stands for the standard rules; empty lines and those that begin with #
// mean nothing.
func Load(setting string) (*Filter, error) {
	switch setting {
	case "", None:
		return &Filter{name: None}, nil
	case Standard:
		f := &Filter{name: Standard}
		return f, f.addStandard()
	}
	st, err := os.Stat(setting)
	switch {
	case err == nil && st.Mode().IsRegular():
		return loadFile(setting, st.Size())
	case looksLikePath(setting): // as an expression it would be a search for text
		if err == nil {
			return nil, errors.New("not a regular file")
		}
		return nil, errors.New("no such file")
	}
	f := &Filter{name: expression}
	return f, f.add(expression, setting)
}

func looksLikePath(s string) bool {
	return (strings.HasPrefix(s, "/") || strings.HasPrefix(s, "./") || strings.HasPrefix(s, "../")) && !strings.ContainsAny(s, " :")
}

func loadFile(path string, size int64) (*Filter, error) {
	if size > maxFileBytes {
		return nil, fmt.Errorf("file of %d bytes: at most %d", size, maxFileBytes)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	defer file.Close()
	f := &Filter{name: path}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, maxFileBytes)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := f.addLine(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	return f, nil
}

func (f *Filter) addLine(line string) error {
	if line == Standard {
		return f.addStandard()
	}
	name, expr, ok := strings.Cut(line, ":")
	if !ok || !validName(name) || expr == strings.TrimLeft(expr, " \t") {
		return errors.New(`want "name: expression", the name of letters, digits, - and _`)
	}
	return f.add(name, strings.TrimSpace(expr))
}

func validName(s string) bool {
	return s != "" && len(s) <= maxNameLen && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == ""
}

func (f *Filter) add(name, expr string) error {
	if strings.TrimSpace(expr) == "" {
		return errors.New("an empty expression would leave out everything")
	}
	q, err := query.Parse(expr)
	if err != nil {
		return err
	}
	for _, r := range f.rules {
		if r.name == name {
			return fmt.Errorf("rule %q is there twice", name)
		}
	}
	if len(f.rules) == maxRules {
		return fmt.Errorf("more than %d rules", maxRules)
	}
	f.rules = append(f.rules, rule{name, expr, q.Matcher()})
	return nil
}

func (f *Filter) addStandard() error {
	for _, r := range standard {
		if err := f.add(r.name, r.expr); err != nil {
			return fmt.Errorf("standard rule %s: %w", r.name, err)
		}
	}
	return nil
}

// Name says which filter is on, for people to read.
func (f *Filter) Name() string { return f.name }

// Rules lists the rules in their order, as they were written.
func (f *Filter) Rules() []*capturev1.FilterRule {
	list := make([]*capturev1.FilterRule, len(f.rules))
	for i, r := range f.rules {
		list[i] = &capturev1.FilterRule{Name: r.name, Expression: r.expr}
	}
	return list
}

// Match tells the first rule that leaves p out; ok is false when none does. It
// borrows p until it returns.
func (f *Filter) Match(p *capturev1.RRPair) (rule string, ok bool) {
	for _, r := range f.rules {
		if r.m.Match(p) {
			return r.name, true
		}
	}
	return "", false
}

// standard are the rules of that name. A path alone is not enough where an
// application may well have a page of it; an agent's name is.
var standard = []struct{ name, expr string }{
	// Kubernetes, the load balancers of clouds, service meshes.
	{"health_check", `method:(GET HEAD OPTIONS) (path:(/healthz /livez /readyz "/healthz/" "/livez/" "/readyz/" /healthz/* /livez/* /readyz/*` +
		` /health /health/live /health/ready /health/liveness /health/readiness /healthcheck /health-check /health_check /_health /_healthz /-/healthy /-/ready` +
		` /actuator/health /actuator/health/* /q/health /q/health/*)` +
		` OR request.header.user-agent:(kube-probe/* GoogleHC/* ELB-HealthChecker/* Amazon-Route53-Health-Check-Service*` +
		` Envoy/HC "Consul Health Check" "Edge Health Probe" "Load Balancer Agent"))`},
	{"monitoring_agent", `request.header.user-agent:(Prometheus/* vmagent* vm_promscrape* Blackbox-Exporter/* Blackbox\ Exporter/*` +
		` Datadog* NewRelic* Pingdom* UptimeRobot* *UptimeRobot/* *Site24x7* *StatusCake* check_http/* Zabbix* *HetrixTools* Better\ Uptime\ Bot*)`},
}
