// Command reverseproxy is the standard library's httputil.ReverseProxy with
// enough idle connections to its upstream: a peer of the benchmark.
//
//	reverseproxy 127.0.0.1:8080 127.0.0.1:9090
package main

import (
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: reverseproxy LISTEN UPSTREAM")
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = 10_000, 10_000
	transport.DisableCompression = true
	upstream := &url.URL{Scheme: "http", Host: os.Args[2]}
	proxy := &httputil.ReverseProxy{
		Transport: transport,
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(upstream); r.Out.Host = r.In.Host },
	}
	log.Fatal((&http.Server{Addr: os.Args[1], Handler: proxy, ReadHeaderTimeout: 0}).ListenAndServe())
}
