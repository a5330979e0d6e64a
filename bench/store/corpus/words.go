package corpus

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

var apps = [Apps]string{
	"checkout", "catalog", "payments", "users", "search", "cart", "pricing", "inventory", "shipping", "returns",
	"reviews", "loyalty", "ledger", "invoices", "notify", "media", "fraud", "geo", "tax", "reports",
}

var hosts = [...]string{"7d9f8b6c5-x2k4q", "7d9f8b6c5-p9m7z"}

var nouns = [endpointsOfApp]string{"items", "sessions", "events"}

// endpoint is one of an app's.
type endpoint struct {
	method, host string
	// paths are those that it is called by: its parts that vary, vary.
	paths []string
}

// pathsOfEndpoint is how many different paths an endpoint has.
const pathsOfEndpoint = 2000

func (e *endpoint) path(r *rand.Rand) string { return e.paths[r.IntN(len(e.paths))] }

// ports is how many connections a client has.
const ports = 16

// The words that make up pairs, made once. They are as good as constants.
var (
	endpoints   = makeEndpoints()
	objects     = makeObjects()
	clientAddrs = makeClients()
	queries     = [...]string{"page=1&limit=50", "page=2&limit=50", "page=3&limit=50&sort=updated", "fields=id,name,price", "expand=lines"}
	agents      = [...]string{"shop-web/4.18.2 (linux; node 22)", "shop-ios/9.3.1 CFNetwork/1490.0.4", "shop-android/9.2.8 okhttp/4.12.0", "Go-http-client/1.1"}
)

func makeEndpoints() []endpoint {
	r := rand.New(rand.NewPCG(seed, 1))
	var all []endpoint
	for app := range Apps {
		for i := range endpointsOfApp {
			e := endpoint{method: [...]string{"GET", "POST", "PUT"}[i], host: apps[app] + ".shop.svc.cluster.local"}
			for range pathsOfEndpoint {
				id := 1 + r.IntN(200_000)
				switch i {
				case 0:
					e.paths = append(e.paths, fmt.Sprintf("/api/v1/%s/%d", nouns[i], id))
				case 1:
					e.paths = append(e.paths, "/api/v1/"+nouns[i])
				default:
					e.paths = append(e.paths, fmt.Sprintf("/api/v1/%s/%d/lines/%d", nouns[i], id, r.IntN(30)))
				}
			}
			all = append(all, e)
		}
	}
	return all
}

func makeClients() (all [clients][ports]string) {
	for c := range all {
		for p := range all[c] {
			all[c][p] = fmt.Sprintf("10.12.%d.%d:%d", c/8, 10+c%8, 40000+p*331)
		}
	}
	return all
}

const (
	objectStart = `{"id":"`
	objectLen   = 280
	blankUUID   = "00000000-0000-4000-8000-000000000000"
)

// objectsMade is so many that a frame has hardly one twice.
const objectsMade = 8192

func makeObjects() [][]byte {
	r := rand.New(rand.NewPCG(seed, 2))
	words := strings.Fields(vocabulary)
	word := func() string { return words[skewed(r, len(words))] }
	all := make([][]byte, objectsMade)
	for i := range all {
		o := fmt.Sprintf(`%s%s","sku":"%s-%d","name":"%s %s","quantity":%d,"price":%d.%02d,"currency":"%s","warehouse":"%s-%d","status":"%s","updated_at":"2026-11-%02dT%02d:%02d:%02d.%03dZ","note":"`,
			objectStart, blankUUID, strings.ToUpper(word()[:2]), r.IntN(100_000), word(), word(), 1+r.IntN(9), r.IntN(400), r.IntN(100),
			[...]string{"EUR", "USD", "GBP"}[r.IntN(3)], [...]string{"fra", "ams", "dub"}[r.IntN(3)], 1+r.IntN(4),
			[...]string{"reserved", "shipped", "open", "cancelled"}[r.IntN(4)], 1+r.IntN(23), r.IntN(24), r.IntN(60), r.IntN(60), r.IntN(1000))
		for len(o) < objectLen-2 {
			// People write the same few things.
			at := skewed(r, len(words)/phraseLen) * phraseLen
			o += strings.Join(words[at:at+phraseLen], " ") + " "
		}
		all[i] = []byte(o[:objectLen-2] + `"}`)
	}
	return all
}

const phraseLen = 4

const vocabulary = `order customer delivery express gift wrapped fragile keep upright leave with neighbour ring twice before noon
small medium large blue red green black white grey cotton wool linen leather steel oak glass ceramic winter summer autumn spring
sale clearance bundle sample refill spare original replacement warranty extended standard premium basic classic modern vintage
kitchen garden office bedroom bathroom outdoor travel sport running cycling hiking climbing swimming camping fishing music book
film game puzzle paper pencil brush canvas paint frame mirror lamp candle shelf table chair sofa bed pillow blanket towel curtain
coffee tea sugar honey bread butter cheese olive pepper salt vinegar mustard rice pasta flour oats nuts dates figs apple pear plum`

func index(b []byte, s string) int { return bytes.Index(b, []byte(s)) }

func appendRequestHead(b []byte, r *rand.Rand, p *capturev1.RRPair, client, length int) []byte {
	b = append(append(append(b, p.Method...), ' '), p.Path...)
	if p.Query != "" {
		b = append(append(b, '?'), p.Query...)
	}
	b = append(append(b, " HTTP/1.1\r\nHost: "...), p.Host...)
	b = append(append(b, "\r\nUser-Agent: "...), agents[client%len(agents)]...)
	b = append(b, "\r\nAccept: application/json\r\nAccept-Encoding: gzip\r\nX-Tenant: tenant-"...)
	b = strconv.AppendInt(b, int64(client%7), 10)
	b = append(b, "\r\nTraceparent: 00-"...)
	b = appendHex(appendHex(b, r.Uint64()), r.Uint64())
	b = append(appendHex(append(b, '-'), r.Uint64()), "-01"...)
	if length > 0 {
		b = append(b, "\r\nContent-Type: application/json\r\nContent-Length: "...)
		b = strconv.AppendInt(b, int64(length), 10)
	}
	return append(b, "\r\n\r\n"...)
}

func appendResponseHead(b []byte, r *rand.Rand, p *capturev1.RRPair, kind, encoding string, length int) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(p.Status), 10)
	b = append(b, " OK\r\nServer: shop/2.31\r\nContent-Type: "...)
	b = append(b, kind...)
	if encoding != "" {
		b = append(append(b, "\r\nContent-Encoding: "...), encoding...)
	}
	b = append(b, "\r\nCache-Control: no-store\r\nX-Request-Id: "...)
	at := len(b)
	b = append(b, blankUUID...)
	putUUID(b[at:], r.Uint64(), r.Uint64())
	b = append(b, "\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(length), 10)
	return append(b, "\r\n\r\n"...)
}

const hexDigits = "0123456789abcdef"

func appendHex(b []byte, v uint64) []byte {
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, hexDigits[v>>shift&15])
	}
	return b
}

// putUUID writes a random UUID over a blank one.
func putUUID(b []byte, hi, lo uint64) {
	b = b[:len(blankUUID)]
	for i := range b {
		switch i {
		case 8, 13, 14, 18, 19, 23: // what every one has
			continue
		}
		if i == 16 {
			hi = lo
		}
		b[i] = hexDigits[hi&15]
		hi = hi>>4 | hi<<60
	}
}
