// Package demo is a small shop with an HTTP API, customers that use it, and a
// verifier that compares what the customers sent and got with what the
// analyzer stored. It knows of Weir only the API.
package demo

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"image"
	"image/color"
	"image/png"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// LargeBody is the size of the shop's large answer: more than a proxy keeps of
// a body by default.
const LargeBody = 3 << 20

// product is one article; the catalogue is made of them and never changes.
type product struct {
	SKU      string `json:"sku"`
	Name     string `json:"name"`
	Category string `json:"category"`
	Price    money  `json:"price"`
	Stock    int    `json:"stock"`
}

type money struct {
	Amount   string `json:"amount"`
	Currency string `json:"currency"`
}

var catalogue = []product{
	{"TNT-2042", "Two-person tent, three seasons", "camping", eur(21900), 14},
	{"STV-0310", "Gas stove with wind shield", "camping", eur(4950), 87},
	{"BAG-1180", "Down sleeping bag, -5 °C", "camping", eur(17900), 9},
	{"BKP-4501", "Trekking backpack, 55 l", "packs", eur(14900), 31},
	{"BKP-2010", "Day pack, 20 l", "packs", eur(5900), 120},
	{"BOT-7744", "Hiking boots, leather", "shoes", eur(18950), 22},
	{"BOT-7745", "Approach shoes", "shoes", eur(12900), 40},
	{"JKT-0902", "Rain jacket, 2.5 layers", "clothing", eur(15900), 18},
	{"JKT-0915", "Wool base layer", "clothing", eur(6990), 64},
	{"LMP-0051", "Head lamp, 400 lm", "light", eur(3990), 203},
	{"MAP-3300", "Topographic map, sheet 33", "maps", eur(1490), 55},
	{"CUP-0007", "Enamel cup", "camping", eur(990), 340},
}

func eur(cents int) money { return money{fmt.Sprintf("%d.%02d", cents/100, cents%100), "EUR"} }

func find(sku string) (product, bool) {
	for _, p := range catalogue {
		if p.SKU == sku {
			return p, true
		}
	}
	return product{}, false
}

// Shop is the sample application. Its answers depend only on the request, so
// that anybody can tell what they have to be.
func Shop() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, map[string]string{"status": "ok"}) })
	mux.HandleFunc("GET /api/products", listProducts)
	mux.HandleFunc("GET /api/products/{sku}", getProduct)
	mux.HandleFunc("GET /api/products/{sku}/image", getImage)
	mux.HandleFunc("GET /products/{sku}", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/api/products/"+r.PathValue("sku"), http.StatusMovedPermanently)
	})
	mux.HandleFunc("GET /api/search", search)
	mux.HandleFunc("GET /api/carts/{id}", getCart)
	mux.HandleFunc("POST /api/carts/{id}/items", addItem)
	mux.HandleFunc("DELETE /api/carts/{id}/items/{sku}", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("POST /api/checkout", checkout)
	mux.HandleFunc("GET /api/orders/{id}", getOrder)
	mux.HandleFunc("GET /api/orders/{id}/events", orderEvents)
	mux.HandleFunc("GET /api/recommendations", recommend)
	mux.HandleFunc("POST /api/reviews/photos", upload)
	mux.HandleFunc("GET /api/exports/orders.csv", export)
	mux.HandleFunc("GET /api/exports/live", endless)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, 404, "not_found", "no such resource: "+r.URL.Path)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Server", "outdoor-shop/4.2")
		if id := r.Header.Get(IDHeader); id != "" {
			w.Header().Set(IDHeader, id)
		}
		mux.ServeHTTP(w, r)
	})
}

// answer writes JSON.
func answer(w http.ResponseWriter, status int, v any) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil { // only of types made here
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)+1))
	w.WriteHeader(status)
	// The customer went away if this fails.
	_, _ = w.Write(append(b, '\n'))
}

func fail(w http.ResponseWriter, status int, code, message string) {
	answer(w, status, map[string]any{"error": map[string]string{"code": code, "message": message}})
}

// packed answers with gzip where the customer takes it.
func packed(w http.ResponseWriter, r *http.Request, v any) {
	if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		answer(w, 200, v)
		return
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	enc := json.NewEncoder(z)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if err := z.Close(); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Encoding", "gzip")
	w.Header().Set("Vary", "Accept-Encoding")
	w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	_, _ = w.Write(b.Bytes())
}

func listProducts(w http.ResponseWriter, r *http.Request) {
	category := r.FormValue("category")
	items := []product{}
	for _, p := range catalogue {
		if category == "" || p.Category == category {
			items = append(items, p)
		}
	}
	packed(w, r, map[string]any{"items": items, "total": len(items), "page": 1})
}

func getProduct(w http.ResponseWriter, r *http.Request) {
	p, ok := find(r.PathValue("sku"))
	if !ok {
		fail(w, 404, "unknown_product", "no product "+r.PathValue("sku"))
		return
	}
	etag := `"` + p.SKU + `-7"`
	w.Header().Set("ETag", etag)
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	answer(w, 200, p)
}

// getImage draws a picture of the product: a few coloured fields.
func getImage(w http.ResponseWriter, r *http.Request) {
	p, ok := find(r.PathValue("sku"))
	if !ok {
		fail(w, 404, "unknown_product", "no product "+r.PathValue("sku"))
		return
	}
	h := fnv.New32a()
	io.WriteString(h, p.SKU)
	seed := h.Sum32()
	m := image.NewNRGBA(image.Rect(0, 0, 64, 48))
	for y := range 48 {
		for x := range 64 {
			v := seed >> ((x/16 + y/16*4) % 24)
			m.SetNRGBA(x, y, color.NRGBA{uint8(v), uint8(v >> 3), uint8(128 + x), 255})
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "image/png")
	w.Header().Set("Cache-Control", "max-age=3600")
	w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	_, _ = w.Write(b.Bytes())
}

func search(w http.ResponseWriter, r *http.Request) {
	q := strings.ToLower(r.FormValue("q"))
	type hit struct {
		product
		Score   string `json:"score"`
		Snippet string `json:"snippet"`
	}
	hits := []hit{}
	for i, p := range catalogue {
		if strings.Contains(strings.ToLower(p.Name), q) {
			hits = append(hits, hit{p, fmt.Sprintf("%.2f", 1-float64(i)/20), strings.Repeat(p.Name+". ", 12)})
		}
	}
	packed(w, r, map[string]any{"query": q, "hits": hits})
}

func getCart(w http.ResponseWriter, r *http.Request) {
	answer(w, 200, map[string]any{
		"id":    r.PathValue("id"),
		"items": []map[string]any{{"sku": "TNT-2042", "quantity": 1}, {"sku": "CUP-0007", "quantity": 2}},
		"total": eur(23880),
	})
}

func addItem(w http.ResponseWriter, r *http.Request) {
	var item struct {
		SKU      string `json:"sku"`
		Quantity int    `json:"quantity"`
	}
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&item); err != nil {
		fail(w, 400, "malformed", "body is not JSON")
		return
	}
	if _, ok := find(item.SKU); !ok || item.Quantity < 1 {
		fail(w, 422, "invalid_item", "unknown product or quantity")
		return
	}
	w.Header().Set("Location", "/api/carts/"+r.PathValue("id"))
	answer(w, 201, map[string]any{"cart": r.PathValue("id"), "item": item})
}

// checkout fails as shops do: a declined card, a payment provider that is
// down. The customer says which by the card.
func checkout(w http.ResponseWriter, r *http.Request) {
	var order struct {
		Cart    string `json:"cart"`
		Payment struct {
			Card string `json:"card"`
		} `json:"payment"`
	}
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&order); err != nil {
		fail(w, 400, "malformed", "body is not JSON")
		return
	}
	switch {
	case strings.HasSuffix(order.Payment.Card, "0002"):
		fail(w, 402, "card_declined", "card declined by issuer")
	case strings.HasSuffix(order.Payment.Card, "0119"):
		w.Header().Set("Retry-After", "5")
		fail(w, 503, "payment_unavailable", "payment provider timed out after 3 attempts")
	case strings.HasSuffix(order.Payment.Card, "0500"):
		fail(w, 500, "internal", "panic: nil price in cart "+order.Cart)
	default:
		answer(w, 201, map[string]any{"order": "10" + order.Cart, "status": "paid", "total": eur(23880)})
	}
}

// getOrder is slow for orders that the warehouse has to be asked about; the
// customer says how slow.
func getOrder(w http.ResponseWriter, r *http.Request) {
	if d, err := time.ParseDuration(r.FormValue("wait")); err == nil && !sleep(r.Context(), min(d, 5*time.Second)) {
		return
	}
	answer(w, 200, map[string]any{
		"id": r.PathValue("id"), "status": "shipped", "carrier": "parcel",
		"lines": []map[string]any{{"sku": "BOT-7744", "quantity": 1, "price": eur(18950)}},
		"total": eur(18950),
	})
}

// orderEvents streams server-sent events and ends.
func orderEvents(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	ctl := http.NewResponseController(w)
	for i, state := range []string{"paid", "picked", "packed", "shipped"} {
		fmt.Fprintf(w, "id: %d\nevent: state\ndata: {\"order\":%q,\"state\":%q}\n\n", i+1, r.PathValue("id"), state)
		if ctl.Flush() != nil || !sleep(r.Context(), 20*time.Millisecond) {
			return
		}
	}
}

// recommend streams lines as they are found, with a trailer at the end.
func recommend(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Trailer", "X-Result-Count")
	ctl := http.NewResponseController(w)
	n := 0
	for i, p := range catalogue {
		if i%3 != 0 {
			continue
		}
		b, err := json.Marshal(p)
		if err != nil {
			return
		}
		_, _ = w.Write(append(b, '\n'))
		n++
		if ctl.Flush() != nil {
			return
		}
	}
	w.Header().Set("X-Result-Count", strconv.Itoa(n))
}

func upload(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, io.LimitReader(r.Body, 16<<20))
	if err != nil {
		fail(w, 400, "malformed", "upload ended early")
		return
	}
	answer(w, 201, map[string]any{"bytes": n, "type": r.Header.Get("Content-Type")})
}

// export is the large answer: LargeBody bytes of CSV.
func export(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	w.Header().Set("Content-Disposition", `attachment; filename="orders.csv"`)
	w.Header().Set("Content-Length", strconv.Itoa(LargeBody))
	out := make([]byte, 0, LargeBody+128)
	out = append(out, "order,date,sku,quantity,price,currency\n"...)
	for i := 0; len(out) < LargeBody; i++ {
		p := catalogue[i%len(catalogue)]
		out = fmt.Appendf(out, "%d,2026-%02d-%02d,%s,%d,%s,%s\n", 100000+i, 1+i%12, 1+i%28, p.SKU, 1+i%3, p.Price.Amount, p.Price.Currency)
	}
	_, _ = w.Write(out[:LargeBody])
}

// endless streams until the customer goes away. Then it hangs up in the middle
// of the answer: to end it properly would claim that this was all.
func endless(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	ctl := http.NewResponseController(w)
	for i := 0; ; i++ {
		fmt.Fprintf(w, "%d,TNT-2042,1\n", 100000+i)
		if ctl.Flush() != nil || !sleep(r.Context(), 10*time.Millisecond) {
			panic(http.ErrAbortHandler)
		}
	}
}

// sleep reports whether it was left to sleep.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
