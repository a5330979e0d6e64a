package e2e

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	httpv1 "github.com/weir-capture/weir/api/http/v1"
	"github.com/weir-capture/weir/e2e/harness"
)

// payloads are texts that become markup, or a script, in a viewer that puts
// strings into pages as such. Each has an element of the id __pwned: a page
// that takes it as markup has window.__pwned, even where a policy keeps the
// script from running. The last ones are what others showed to be dangerous
// without any markup: characters that cannot be seen or that turn the
// direction of what follows.
var payloads = []string{
	`<script id=__pwned>window.__pwned=1</script>`,
	`"><img id=__pwned src=x onerror=window.__pwned=1>`,
	`'-->]]></style></script></textarea></title><svg id=__pwned onload=window.__pwned=1>`,
	`<iframe id=__pwned srcdoc="<script>parent.__pwned=1</script>">`,
	`<a id=__pwned href=javascript:window.__pwned=1 autofocus onfocus=window.__pwned=1>x</a>`,
	`<math><mtext><table><mglyph><style><!--</style><img id=__pwned title="--&gt;&lt;img src=1 onerror=window.__pwned=1&gt;">`,
	`<form id=__pwned><input name=attributes><button formaction=javascript:window.__pwned=1>x</form>`,
	`&lt;img id=__pwned src=x onerror=window.__pwned=1&gt;`,
	`{{constructor.constructor('window.__pwned=1')()}}<b id=__pwned>${window.__pwned=1}`,
	`javascript:window.__pwned=1//<b id=__pwned>__proto__`,
	"<b id=__pwned>invoice_\u202ecod.exe\u200b\u2066adm\u200din\ufeff\u3164",
}

// attackKinds are the bodies that each payload comes in, one after another.
var attackKinds = []string{"json", "html", "svg", "form", "xml", "pdf", "gzip", "events", "text", "png", "multipart"}

func attackBody(kind, payload string) (contentType string, body []byte) {
	quoted, _ := json.Marshal(payload)
	switch kind {
	case "json":
		// What has a secret's name is redacted where rules are on, and its
		// receipt has the name in it.
		name, _ := json.Marshal(payload + "_password")
		return "application/json", fmt.Appendf(nil, `{%s: %s, "list": [{%s: [%s]}], "__proto__": {%s: 1}, %s: %s}`, quoted, quoted, quoted, quoted, quoted, name, quoted)
	case "html":
		return "text/html; charset=utf-8", []byte("<!doctype html><title>" + payload + "</title><body onload=window.__pwned=1>" + payload)
	case "svg":
		return "image/svg+xml", []byte(`<svg xmlns="http://www.w3.org/2000/svg" onload="window.__pwned=1"><script>window.__pwned=1</script><foreignObject>` + payload + `</foreignObject></svg>`)
	case "form":
		return "application/x-www-form-urlencoded", []byte(url.Values{payload: {payload}}.Encode())
	case "xml":
		return "application/xml", []byte(`<?xml version="1.0"?><?xml-stylesheet href="javascript:window.__pwned=1"?><a b="` + payload + `">` + payload + `</a>`)
	case "pdf":
		return "application/pdf", []byte("%PDF-1.7\n1 0 obj<</OpenAction<</S/JavaScript/JS(app.alert\\(1\\))>>>>endobj\n" + payload)
	case "gzip":
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = fmt.Fprintf(z, `{%s: %s}`, quoted, quoted)
		_ = z.Close()
		return "application/json\r\nContent-Encoding: gzip", b.Bytes()
	case "events":
		return "text/event-stream", []byte("event: " + payload + "\ndata: " + payload + "\n\n")
	case "png": // not what it says it is
		return "image/png", []byte(payload)
	case "multipart":
		return "multipart/form-data; boundary=x", []byte("--x\r\nContent-Disposition: form-data; name=\"" + payload + "\"; filename=\"../" + payload + ".html\"\r\n\r\n" + payload + "\r\n--x--\r\n")
	}
	return payload, []byte(payload) // the type itself is the payload
}

// attackRequest is a request with the payload wherever HTTP has room for it,
// and a body of this kind. What a client may not send, a client of these sends
// all the same.
func attackRequest(n int, payload, kind string) []byte {
	contentType, body := attackBody(kind, payload)
	// A token has no angle brackets; the worst that it has.
	token := "x-'onerror`$&" + strconv.Itoa(n)
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s /%s/%s?%s=%s&n=%d HTTP/1.1\r\n", []string{"POST", "PUT", "P'A`T$&H"}[n%3],
		url.PathEscape(payload), strings.NewReplacer(" ", "", "\u3164", "").Replace(payload), url.QueryEscape(payload), url.QueryEscape(payload), n)
	fmt.Fprintf(&b, "Host: %s\r\nX-Payload: %s\r\n%s: %s\r\nCookie: %s=%s\r\nUser-Agent: %s\r\nReferer: javascript:window.__pwned=1\r\nX-Kind: %s\r\nAuthorization: Bearer %[5]s\r\n",
		[]string{"shop.test", `"'onerror=1`}[n%2], payload, token, payload, token, payload, payload, kind)
	fmt.Fprintf(&b, "Content-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", contentType, len(body))
	b.Write(body)
	return b.Bytes()
}

// brokenRequest has the payload where HTTP has no room for it: as the method,
// as the name of a header field, and as the version. No decoder takes that, so
// that it is shown as what it is, bytes.
func brokenRequest(payload string) []byte {
	return []byte(payload + " /" + payload + " " + payload + "\r\n" + payload + ": " + payload + "\r\n\r\n" + payload)
}

// startAttacker is an application that answers with the payload of the
// request's X-Payload, in the body that X-Kind names. It takes what a server
// should not, because a capture has to show that, too.
func startAttacker(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", harness.Addr(0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go answerAttack(c, n)
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

func answerAttack(c net.Conn, n int) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	r := textproto.NewReader(bufio.NewReader(c))
	if _, err := r.ReadLine(); err != nil {
		return
	}
	fields := map[string]string{}
	for {
		line, err := r.ReadLine()
		if err != nil || line == "" {
			break
		}
		name, value, _ := strings.Cut(line, ": ")
		fields[name] = value
	}
	size, _ := strconv.ParseInt(fields["Content-Length"], 10, 32)
	_, _ = io.CopyN(io.Discard, r.R, size)
	contentType, body := attackBody(fields["X-Kind"], fields["X-Payload"])
	status := []int{200, 404, 500}[n%3]
	fmt.Fprintf(c, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nX-Echo: %s\r\nSet-Cookie: %s=1; Path=/\r\nLocation: javascript:window.__pwned=1\r\nContent-Disposition: inline; filename=\"../../%s.html\"\r\nContent-Length: %d\r\nConnection: close\r\n\r\n",
		status, fields["X-Payload"], contentType, fields["X-Payload"], fields["X-Payload"], fields["X-Payload"], len(body))
	_, _ = c.Write(body)
}

// attack sends one request and reads the answer to its end.
func attack(t *testing.T, port int, request []byte) {
	t.Helper()
	c, err := net.DialTimeout("tcp", harness.Addr(port), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := c.Write(request); err != nil {
		t.Fatalf("send an attack: %v", err)
	}
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Fatalf("read the answer to an attack: %v", err)
	}
}

// TestS13 puts texts that want to be markup into every field that is captured
// or set up, each of them into each field and into each kind of body, through
// the real programs, with rules of redaction (and, of each payload in one kind
// of body, without), and opens every page
// of the viewer's router and every part of every pair in headless Chromium: no
// script runs, nothing becomes markup, no dialog opens, the policy and the
// console have nothing to report, and no character that cannot be seen is among
// what is shown.
//
// It is also TestS14 in the browser: no captured body is rendered as a
// document, whatever its type says, and what is downloaded is an attachment.
func TestS13(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	for _, rules := range []string{"standard", "none"} {
		t.Run(rules, func(t *testing.T) {
			t.Parallel()
			attackAll(t, rules)
		})
	}
}

func attackAll(t *testing.T, rules string) {
	t.Helper()
	port := startAttacker(t)
	s := harness.NewStack(t, bins, port)
	bidi := payloads[len(payloads)-1]
	s.ProxyEnv["APP_LABEL"], s.ProxyEnv["APP_POD_NAMESPACE"] = payloads[1], payloads[2]
	s.ProxyEnv["APP_POD_NAME"] = payloads[0] + bidi
	s.ForwarderEnv["CLUSTER_NAME"] = strings.Join(payloads, " ")
	s.ForwarderEnv["DLP_CONFIG"] = rules
	s.StartAll()
	// An app, an instance and a namespace of its own for each, and one that
	// cannot reach its application: its error has the name of the host in it.
	kinds := len(attackKinds)
	if rules == "none" && os.Getenv("WEIR_TEST_ALL") == "" {
		kinds = 1 // of each payload, another one: what differs is shown by no other code
	}
	n := len(payloads) * kinds
	for i, p := range payloads {
		attack(t, oddProxy(t, s, i, port, p), attackRequest(n+i, p, "text"))
	}
	attackUnanswered(t, oddProxy(t, s, len(payloads), harness.Port(t), bidi), attackRequest(0, bidi, "json"))
	for i, p := range payloads {
		for j := range kinds {
			// The first ones have each payload and each kind once.
			attack(t, s.ProxyPort, attackRequest(j*len(payloads)+i, p, attackKinds[(i+j)%len(attackKinds)]))
		}
		attackUnanswered(t, s.ProxyPort, brokenRequest(p))
	}
	want := n + len(payloads)
	harness.Poll(t, 30*time.Second, "the attacks in the store", func() error {
		var page httpv1.Pairs
		if err := getJSON(s.Viewer()+"/api/v1/pairs?limit=1000", &page); err != nil {
			return err
		}
		decoded, redacted, opaque := 0, 0, 0
		for _, p := range page.Pairs {
			switch p.Protocol {
			case "http":
				decoded++
			case "opaque":
				opaque++
			}
			if slices.Contains(p.Flags, "redacted") {
				redacted++
			}
		}
		if decoded < want || opaque < len(payloads) {
			return fmt.Errorf("of %d pairs %d were decoded, and %d are opaque; %d and %d were sent", len(page.Pairs), decoded, opaque, want, len(payloads))
		}
		if on := rules != "none"; on != (redacted > 0) {
			return fmt.Errorf("with the rules %s %d pairs were redacted", rules, redacted)
		}
		return nil
	})
	said := walkWith(t, s, "xss.mjs", map[string]any{
		"payloads": payloads, "whole": len(payloads), "router": filepath.Join(harness.Root(), "ui", "src", "router.tsx"),
	}, nil)
	if n := said["every part of every pair"].Seen; !t.Failed() && n < uint64(want+len(payloads)) {
		t.Errorf("%d pairs were opened, want at least %d", n, want+len(payloads))
	}
}

// oddProxy starts another proxy, whose app, instance and namespace have the payload as
// their names, and returns its port.
func oddProxy(t *testing.T, s *harness.Stack, n, upstream int, payload string) int {
	t.Helper()
	env, port := maps.Clone(s.ProxyEnv), harness.Port(t)
	env["PROXY_IN_PORT"], env["REVERSE_PROXY_PORT"] = strconv.Itoa(port), strconv.Itoa(upstream)
	env["APP_LABEL"], env["APP_POD_NAME"], env["APP_POD_NAMESPACE"] = payload, fmt.Sprintf("pod-%d-%s", n, payload), payload
	p := harness.Start(t, s.Dir, fmt.Sprintf("goproxy-odd-%d", n), bins.Path("goproxy"), env)
	p.WaitMessage(20*time.Second, "Successfully registered with forwarder")
	return port
}

// attackUnanswered sends a request that the proxy can carry nowhere, so that
// it may end the connection before it was read or even made.
func attackUnanswered(t *testing.T, port int, request []byte) {
	t.Helper()
	c, err := net.DialTimeout("tcp", harness.Addr(port), 5*time.Second)
	if err != nil {
		return
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = c.Write(request)
	_, _ = io.Copy(io.Discard, c)
}

func getJSON(address string, into any) error {
	resp, err := http.Get(address)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// TestS14 downloads every body and every message of hostile types: each is an
// attachment with a name of ours, of a type that no browser renders, in a
// sandbox even if one did.
func TestS14(t *testing.T) {
	t.Parallel()
	s := harness.NewStack(t, bins, startAttacker(t))
	s.StartAll()
	for i := range attackKinds {
		attack(t, s.ProxyPort, attackRequest(i, payloads[i%len(payloads)], attackKinds[i]))
	}
	var page httpv1.Pairs
	harness.Poll(t, 30*time.Second, "the attacks in the store", func() error {
		if err := getJSON(s.Viewer()+"/api/v1/pairs?limit=1000", &page); err != nil {
			return err
		}
		if len(page.Pairs) < len(attackKinds) {
			return fmt.Errorf("%d pairs", len(page.Pairs))
		}
		return nil
	})
	looked := 0
	for _, p := range page.Pairs {
		for _, what := range []string{"request/body", "request/body?decoded=1", "request/raw", "response/body", "response/body?decoded=1", "response/raw"} {
			resp, err := http.Get(s.Viewer() + "/api/v1/pairs/" + p.ID + "/" + what)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode == http.StatusNotFound {
				continue // no such message
			}
			looked++
			if err := harmless(resp.Header); err != nil || resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusUnprocessableEntity {
				t.Errorf("%s %s: status %d: %v\n%v", p.ID, what, resp.StatusCode, err, resp.Header)
			}
		}
	}
	if looked < 4*len(attackKinds) {
		t.Errorf("%d downloads were looked at", looked)
	}
}

// harmless says why a browser could show an answer as a page of ours.
func harmless(h http.Header) error {
	var errs []error
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	switch kind {
	case "application/octet-stream":
		disposition := h.Get("Content-Disposition")
		name, ok := strings.CutPrefix(disposition, "attachment; filename=")
		if !ok || name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != "" || strings.HasPrefix(name, ".") {
			errs = append(errs, fmt.Errorf("not a download with a safe name: %q", disposition))
		}
	case "application/json", "application/problem+json":
	default:
		errs = append(errs, fmt.Errorf("the type %q", h.Get("Content-Type")))
	}
	if h.Get("X-Content-Type-Options") != "nosniff" {
		errs = append(errs, errors.New("a browser may guess another type"))
	}
	if csp := h.Get("Content-Security-Policy"); !strings.Contains(csp, "sandbox") || !strings.Contains(csp, "default-src 'none'") {
		errs = append(errs, fmt.Errorf("the policy %q", csp))
	}
	return errors.Join(errs...)
}

// TestS11 holds the headers of the real analyzer against the promise, on
// pages, assets, answers, refusals and streams. That the policy has nothing
// to report while the viewer is used is in every walk: see kit.mjs, and the
// step of TestS13 that shows that a violation would be counted.
func TestS11(t *testing.T) {
	t.Parallel()
	s := harness.NewStack(t, bins, harness.Port(t))
	s.StartAnalyzer()
	everywhere := map[string]string{
		"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY",
		"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
	}
	page := []string{
		"default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:", "connect-src 'self'",
		"frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'", "require-trusted-types-for 'script'",
	}
	answer := []string{"default-src 'none'", "sandbox", "frame-ancestors 'none'", "base-uri 'none'"}
	for _, c := range []struct {
		path   string
		policy []string
	}{
		{"/", page},
		{"/sign-in?to=/x", page},
		{"/no/such/page", page},
		{"/assets/none.js", page},
		{"/api/v1/info", answer},
		{"/api/v1/pairs", answer},
		{"/api/v1/pairs/none", answer},
		{"/api/v1/none", answer},
		{"/api/v1/tail", answer},
		{"/api/v1/export", answer},
		{"/healthz", answer},
		{"/metrics", answer},
	} {
		resp, err := http.Get(s.Viewer() + c.path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		for name, want := range everywhere {
			if got := resp.Header.Values(name); len(got) != 1 || got[0] != want {
				t.Errorf("%s: %s is %q, want %q", c.path, name, got, want)
			}
		}
		csp := resp.Header.Values("Content-Security-Policy")
		if len(csp) != 1 {
			t.Errorf("%s: %d policies: %q", c.path, len(csp), csp)
			continue
		}
		parts := map[string]bool{}
		for part := range strings.SplitSeq(csp[0], ";") {
			parts[strings.TrimSpace(part)] = true
		}
		for _, want := range c.policy {
			if !parts[want] {
				t.Errorf("%s: %q is not in the policy %q", c.path, want, csp[0])
			}
		}
		if strings.Contains(csp[0], "unsafe") || strings.Contains(csp[0], "*") {
			t.Errorf("%s: the policy has a way around it: %q", c.path, csp[0])
		}
		for _, leak := range []string{"Server", "X-Powered-By", "Access-Control-Allow-Origin"} {
			if resp.Header.Get(leak) != "" {
				t.Errorf("%s: %s: %s", c.path, leak, resp.Header.Get(leak))
			}
		}
	}
}

// TestS10 tries what a page elsewhere could do with a name that it lets point
// to this machine, or with a request that the browser sends for it: the real
// analyzer answers each with 403.
func TestS10(t *testing.T) {
	t.Parallel()
	s := harness.NewStack(t, bins, harness.Port(t))
	s.StartAnalyzer()
	own := harness.Addr(s.ViewerPort)
	do := func(method, path, host string, fields map[string]string) int {
		t.Helper()
		var body io.Reader
		if method != http.MethodGet {
			body = strings.NewReader(`{}`)
		}
		r, err := http.NewRequestWithContext(t.Context(), method, s.Viewer()+path, body)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		if body != nil {
			r.Header.Set("Content-Type", "application/json")
		}
		for name, value := range fields {
			r.Header.Set(name, value)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	calls := [][2]string{
		{"GET", "/api/v1/pairs"},
		{"GET", "/api/v1/tail"},
		{"GET", "/api/v1/session"},
		{"GET", "/api/v1/export"},
		{"POST", "/api/v1/session"},
		{"POST", "/api/v1/users"},
		{"POST", "/api/v1/keys"},
		{"POST", "/api/v1/deletions"},
		{"POST", "/api/v1/import"},
	}
	for _, call := range calls {
		if status := do(call[0], call[1], own, nil); status == http.StatusForbidden {
			t.Fatalf("%s %s: 403 without an attack", call[0], call[1])
		}
		for _, host := range []string{"evil.test", "evil.test:" + strconv.Itoa(s.ViewerPort), "127.0.0.1.evil.test", "localhost.evil.test", "0.0.0.0:" + strconv.Itoa(s.ViewerPort), "169.254.169.254", "[::ffff:10.0.0.1]", "weir"} {
			if status := do(call[0], call[1], host, nil); status != http.StatusForbidden {
				t.Errorf("%s %s with Host %s: %d, want 403", call[0], call[1], host, status)
			}
		}
		for _, fields := range []map[string]string{
			{"Origin": "http://evil.test"},
			{"Origin": "null"},
			{"Origin": "http://" + own + ".evil.test"},
			{"Origin": "http://127.0.0.1:1"},
			{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
			{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
			{"Sec-Fetch-Site": "same-site", "Origin": "http://other." + own},
		} {
			if status := do(call[0], call[1], own, fields); status != http.StatusForbidden {
				t.Errorf("%s %s with %v: %d, want 403", call[0], call[1], fields, status)
			}
		}
	}
	// The viewer's pages are not for other names either.
	for _, path := range []string{"/", "/sign-in", "/assets/x.js"} {
		if status := do("GET", path, "evil.test", nil); status != http.StatusForbidden {
			t.Errorf("GET %s with Host evil.test: %d, want 403", path, status)
		}
	}
}
