package web

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"unicode"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weir-capture/weir/analyzer/control"
	httpv1 "github.com/weir-capture/weir/api/http/v1"
)

// Ports by convention, where nobody says.
const (
	proxyPort     = 4143
	forwarderPort = "8888"
)

type (
	forwarderListInput struct{ Sent sent[httpv1.ForwarderList] }
	proxyListInput     struct{ Sent sent[httpv1.ProxyList] }
)

// envFile is a file of variables as docker's --env-file and systemd's
// EnvironmentFile both read it: no quotes, and nothing that would need them.
type envFile struct {
	strings.Builder
	err error
}

func (f *envFile) comment(line string) { f.WriteString("# " + line + "\n") }

// set writes a variable. field is how the caller calls its value.
func (f *envFile) set(name, value, field string) {
	bad := func(r rune) bool {
		return !unicode.IsPrint(r) || unicode.IsSpace(r) || strings.ContainsRune("\"'`\\$#", r)
	}
	if f.err == nil && (len(value) > 253 || strings.ContainsFunc(value, bad)) {
		f.err = badParam("%s %s cannot stand in an env-file; want at most 253 letters, digits and signs, without spaces, quotes, backslashes, # and $.", field, shown(value))
	}
	f.WriteString(name + "=" + value + "\n")
}

// setAddr writes an address, "host:port".
func (f *envFile) setAddr(name, value, field string) {
	host, port, err := net.SplitHostPort(value)
	n, bad := strconv.ParseUint(port, 10, 16)
	if f.err == nil && (err != nil || host == "" || bad != nil || n == 0) {
		f.err = badParam("%s %s is not an address; want host:port.", field, shown(value))
	}
	f.set(name, value, field)
}

func (f *envFile) answer() *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		hc.SetHeader("Content-Type", "text/plain; charset=utf-8")
		// The reader went away if this fails.
		_, _ = hc.BodyWriter().Write([]byte(f.String()))
	}}
}

// forwarderList writes the env-file of a forwarder: everything that it needs
// to send here, and nothing that others have.
func (s *Server) forwarderList(ctx context.Context, in *forwarderListInput) (*huma.StreamResponse, error) {
	c, err := s.control()
	if err != nil {
		return nil, err
	}
	if in.Sent.err != nil {
		return nil, in.Sent.err
	}
	doc := in.Sent.doc
	var f envFile
	f.comment("forwarder.list of " + strconv.Quote(doc.Name) + ", written by the analyzer. It holds secrets: keep it where only the forwarder reads it.")
	f.set("CLUSTER_NAME", cmp.Or(doc.Cluster, doc.Name), "cluster")
	f.setAddr("ANALYZER_ADDR", cmp.Or(doc.AnalyzerAddr, s.cfg.IngestAddr), "analyzer_addr")
	if s.cfg.IngestTLS {
		f.set("ANALYZER_TLS", "on", "")
		f.comment("ANALYZER_CA_FILE=/etc/weir/ca.pem   where the analyzer's certificate is of no public authority")
	}
	f.set("DLP_CONFIG", "standard", "")
	if f.err != nil {
		return nil, f.err
	}
	key, err := c.DLPKey(ctx)
	if err != nil {
		return nil, s.refuse(ctx, err, "key")
	}
	f.WriteString("DLP_KEY=" + key + "\n")
	_, secret, err := s.makeKey(ctx, c, control.NewKey{Name: doc.Name, Kind: control.KeyForwarder})
	if err != nil {
		return nil, err
	}
	f.WriteString("ANALYZER_TOKEN=" + secret + "\n")
	return f.answer(), nil
}

// proxyList writes the variables of a proxy.
func (s *Server) proxyList(ctx context.Context, in *proxyListInput) (*huma.StreamResponse, error) {
	c, err := s.control()
	if err != nil {
		return nil, err
	}
	if in.Sent.err != nil {
		return nil, in.Sent.err
	}
	doc := in.Sent.doc
	if doc.App == "" {
		return nil, badParam("app is not given; want the name of the application.")
	}
	for _, p := range []struct {
		field string
		port  int
	}{{"port", doc.Port}, {"upstream_port", doc.UpstreamPort}} {
		if p.port < 0 || p.port > 65535 {
			return nil, badParam("%s=%d is not valid; want a port, 1 to 65535.", p.field, p.port)
		}
	}
	pod := cmp.Or(doc.Pod, doc.App+"-1")
	var f envFile
	f.set("PROXY_TYPE", "reverse", "")
	f.set("PROXY_IN_PORT", strconv.Itoa(cmp.Or(doc.Port, proxyPort)), "port")
	f.set("REVERSE_PROXY_HOST", cmp.Or(doc.UpstreamHost, "localhost"), "upstream_host")
	f.set("REVERSE_PROXY_PORT", strconv.Itoa(cmp.Or(doc.UpstreamPort, 80)), "upstream_port")
	f.set("APP_LABEL", doc.App, "app")
	f.set("APP_POD_NAME", pod, "pod")
	if doc.Namespace != "" {
		f.set("APP_POD_NAMESPACE", doc.Namespace, "namespace")
	}
	f.setAddr("FORWARDER_ADDR", cmp.Or(doc.ForwarderAddr, "localhost:"+forwarderPort), "forwarder_addr")
	if f.err != nil {
		return nil, f.err
	}
	if !doc.Token {
		quiet(ctx) // nothing was made
		return f.answer(), nil
	}
	_, secret, err := s.makeKey(ctx, c, control.NewKey{Name: pod, Kind: control.KeyProxy})
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(secret))
	f.WriteString("FORWARDER_TOKEN=" + secret + "\n")
	f.comment("The forwarder's PROXY_TOKENS_FILE needs this line:")
	f.comment(fmt.Sprintf("%s sha256:%s", pod, hex.EncodeToString(sum[:])))
	return f.answer(), nil
}

// URL is where people find the viewer, as far as this process knows, without
// a slash at the end.
func (s *Server) URL() string {
	if s.cfg.PublicURL != nil {
		return strings.TrimSuffix(s.cfg.PublicURL.String(), "/")
	}
	scheme := "http"
	if s.cfg.TLS != nil {
		scheme = "https"
	}
	addr := s.cfg.ListenAddr
	if host, port, err := net.SplitHostPort(addr); err == nil {
		if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
			addr = net.JoinHostPort("localhost", port)
		}
	}
	return scheme + "://" + addr
}

// SetupFragment stands between the viewer's address and the token of a link
// that makes the first user. A fragment is never sent to a server, and so is
// in no log and no Referer.
const SetupFragment = "/sign-in#setup="

// cspReportPath takes what browsers say of scripts that the viewer's policy
// stopped.
const cspReportPath = "/api/v1/csp-report"

// cspReport counts a report. What is in it is of whoever sent it, and nothing
// of it is kept.
func (s *Server) cspReport(w http.ResponseWriter, _ *http.Request) {
	s.metrics.cspReports.Inc()
	w.WriteHeader(http.StatusNoContent)
}
