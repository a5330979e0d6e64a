package interchange

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// TestRRPairCorpus reads pairs that another tool recorded.
func TestRRPairCorpus(t *testing.T) {
	dir := os.Getenv("CORPORA_DIR")
	if dir == "" {
		dir = "../../shared/corpora"
	}
	files, err := filepath.Glob(filepath.Join(dir, "rrpair", "*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skip("MISSING corpora (CORPORA_DIR): pairs that another tool recorded are not read")
	}
	n := 0
	for _, name := range files {
		file, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range read(t, RRPair, file) {
			n++
			if p.GetProtocol() != "http" || p.GetStatus() == 0 || p.GetMethod() == "" || !strings.HasPrefix(p.GetPath(), "/") || p.GetHost() == "" ||
				p.GetTiming().GetResponseLast() <= p.GetTiming().GetRequestFirst() || p.GetDirection() != capturev1.Direction_DIRECTION_OUTBOUND {
				t.Errorf("%s: %v", name, p)
			}
			if p.GetSource().GetCluster() != "" {
				t.Errorf("%s: cluster %q", name, p.GetSource().GetCluster())
			}
			method, target, _, ok := requestLine(p.GetRequest().GetHead())
			if !ok || method != p.GetMethod() || !strings.HasPrefix(target, p.GetPath()) {
				t.Errorf("%s: request head %q", name, p.GetRequest().GetHead())
			}
			if b := p.GetResponse().GetBody(); len(b) > 0 && b[0] == '{' && bytes.Contains(p.GetResponse().GetHead(), []byte("gzip")) && !p.GetResponse().GetBodyDecoded() {
				t.Errorf("%s: a decoded body is not marked", name)
			}
		}
	}
	if n != 52 {
		t.Errorf("%d pairs, want 52", n)
	}
}

// TestRRPairThereAndBack: what the format has a place for comes back.
func TestRRPairThereAndBack(t *testing.T) {
	want := exchange(1)
	tls := exchange(2)
	tls.Protocol, tls.Request.Head = "tls", nil
	file, left := write(t, RRPair, want, tls)
	if left != 1 {
		t.Errorf("%d left out", left)
	}
	got := read(t, RRPair, file)[0]
	for _, c := range [][2]string{
		{ID(got), ID(want)},
		{got.GetSource().GetApp() + got.GetSource().GetPod() + got.GetSource().GetCluster() + got.GetSource().GetNamespace() + got.GetSource().GetProxyId(), "shoppod-1cnspod-1"},
		{got.GetMethod() + " " + got.GetHost() + got.GetPath() + "?" + got.GetQuery(), want.GetMethod() + " " + want.GetHost() + want.GetPath() + "?" + want.GetQuery()},
		{string(got.GetRequest().GetBody()) + string(got.GetResponse().GetBody()), string(want.GetRequest().GetBody()) + string(want.GetResponse().GetBody())},
		{got.GetClient() + got.GetServer() + got.GetDirection().String(), want.GetClient() + want.GetServer() + want.GetDirection().String()},
		{string(got.GetRequest().GetHead()), "POST /orders/1?a=1&b=%20x HTTP/1.1\r\nHost: shop.example:8080\r\nX-One: 1\r\nX-One: 2\r\ncookie: s=1; t=2\r\n\r\n"},
	} {
		if c[0] != c[1] {
			t.Errorf("got %q, want %q", c[0], c[1])
		}
	}
	if got.GetStatus() != 200 || got.GetSeq() != 1 || got.GetTiming().GetRequestFirst() != want.GetTiming().GetRequestFirst() ||
		got.GetTiming().GetResponseLast()-got.GetTiming().GetRequestFirst() != 9_000_000 {
		t.Errorf("%v", got)
	}
}
