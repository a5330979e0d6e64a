package oidc

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// maxAnswer bounds what is read of an answer of the provider.
const maxAnswer = 1 << 20

// httpClient is for the provider alone: its answers are short, and it sends
// nobody elsewhere.
func httpClient() *http.Client {
	return &http.Client{
		Timeout: askTimeout,
		Transport: short{&http.Transport{
			Proxy:                  http.ProxyFromEnvironment, // nothing captured goes this way
			ResponseHeaderTimeout:  askTimeout,
			TLSHandshakeTimeout:    askTimeout,
			IdleConnTimeout:        time.Minute,
			MaxResponseHeaderBytes: 64 << 10,
			ForceAttemptHTTP2:      true,
		}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// short bounds answers.
type short struct{ http.RoundTripper }

func (t short) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Body = &limited{resp.Body, maxAnswer}
	}
	return resp, err
}

type limited struct {
	io.ReadCloser
	left int
}

var errLong = errors.New("the answer is longer than 1 MiB")

func (l *limited) Read(b []byte) (int, error) {
	if l.left <= 0 {
		return 0, errLong
	}
	n, err := l.ReadCloser.Read(b[:min(len(b), l.left)])
	l.left -= n
	return n, err
}

// checkURL refuses an address at which somebody between could read or change
// what is said.
func checkURL(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return fmt.Errorf("%q is no address such as https://idp.example", oneLine(address))
	}
	if u.Scheme == "https" || u.Scheme == "http" && loopback(u.Host) {
		return nil
	}
	return fmt.Errorf("%q is not https", oneLine(address))
}

func loopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback() || strings.EqualFold(host, "localhost")
}
