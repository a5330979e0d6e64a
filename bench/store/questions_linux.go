package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/weir-capture/weir/bench/store/corpus"
)

// asker asks the analyzer's API, over one connection.
type asker struct {
	base   string
	client *http.Client
	corpus corpus.Corpus
}

func newAsker(base string, c corpus.Corpus) *asker {
	return &asker{base: base, corpus: c, client: &http.Client{
		Timeout: 10 * time.Minute,
		// What compressing an answer costs is not the store's.
		Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 4},
	}}
}

func (a *asker) close() { a.client.CloseIdleConnections() }

// errNotThere: the call is not built yet.
type errNotThere struct{ call string }

func (e *errNotThere) Error() string { return "not there yet: " + e.call + " answers 501" }

// get asks, and gives the whole answer with how long it took.
func (a *asker) get(ctx context.Context, path string, params url.Values) ([]byte, time.Duration, error) {
	u := a.base + path
	if len(params) > 0 {
		u += "?" + params.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return nil, 0, fmt.Errorf("ask %s: %w", path, err)
	}
	began := time.Now()
	resp, err := a.client.Do(req)
	if err != nil {
		return nil, 0, fmt.Errorf("ask %s: %w", path, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	took := time.Since(began)
	switch {
	case err != nil:
		return nil, 0, fmt.Errorf("ask %s: %w", path, err)
	case resp.StatusCode == http.StatusNotImplemented:
		return nil, 0, &errNotThere{path}
	case resp.StatusCode != http.StatusOK:
		return b, took, fmt.Errorf("ask %s: %s: %s", u, resp.Status, strings.TrimSpace(string(b[:min(len(b), 500)])))
	}
	return b, took, nil
}

// question is one row of the table: asked again and again, each time a little
// different, so that no answer can be the one that was kept from before.
type question struct {
	key string
	// ask asks once; i counts the repeats. Words, when not empty, are what is
	// wrong with the answer.
	ask func(ctx context.Context, a *asker, i int) (took time.Duration, words string, err error)
}

// within are times between two moments before the corpus' end.
func (a *asker) within(from, to time.Duration, i int) url.Values {
	// Another window each time, and on no round number.
	shift := time.Duration(i) * 1_700_000_001
	end := time.Unix(0, a.corpus.To)
	return url.Values{
		"from": {end.Add(-from + shift).UTC().Format(time.RFC3339Nano)},
		"to":   {end.Add(-to - shift).UTC().Format(time.RFC3339Nano)},
	}
}

type page struct {
	Pairs []struct {
		ID string `json:"id"`
	} `json:"pairs"`
	Next    *string `json:"next_cursor"`
	Partial bool    `json:"partial"`
}

func (a *asker) list(ctx context.Context, params url.Values) (*page, time.Duration, error) {
	b, took, err := a.get(ctx, "/api/v1/pairs", params)
	if err != nil {
		return nil, 0, err
	}
	var p page
	if err := json.Unmarshal(b, &p); err != nil {
		return nil, 0, fmt.Errorf("read list: %w", err)
	}
	return &p, took, nil
}

// stats is a question for sums over 24 hours.
func stats(key, path string, more url.Values) question {
	return question{key, func(ctx context.Context, a *asker, i int) (time.Duration, string, error) {
		params := a.within(24*time.Hour, 0, i)
		for k, v := range more {
			params[k] = v
		}
		b, took, err := a.get(ctx, path, params)
		if err == nil && strings.Contains(string(b), `"partial":true`) {
			return took, "the answer is partial", nil
		}
		return took, "", err
	}}
}

// facetFields are the eight that people see beside a list.
var facetFields = []string{"app", "host", "method", "status", "endpoint", "protocol", "namespace", "pod"}

// questions are those that are asked warm and cold.
func questions() []question {
	return []question{
		{"newest", func(ctx context.Context, a *asker, i int) (time.Duration, string, error) {
			params := a.within(24*time.Hour, 0, i)
			params.Set("limit", "100")
			p, took, err := a.list(ctx, params)
			return took, expect(p, err, 100), err
		}},
		{"page", func(ctx context.Context, a *asker, i int) (time.Duration, string, error) {
			// The first page lies somewhere in the day; the one that is measured
			// comes ten pages after it.
			params := a.within(24*time.Hour, time.Duration(i%20)*time.Hour, i)
			params.Set("limit", "100")
			var p *page
			var took time.Duration
			for range 10 {
				var err error
				if p, took, err = a.list(ctx, params); err != nil {
					return 0, "", err
				}
				if p.Next == nil {
					return took, "there were fewer pages", nil
				}
				params.Set("cursor", *p.Next)
			}
			return took, expect(p, nil, 100), nil
		}},
		{"one", func(ctx context.Context, a *asker, i int) (time.Duration, string, error) {
			id := a.corpus.ID(uint64(i*7919+13) * 104_729 % a.corpus.Pairs)
			_, took, err := a.get(ctx, fmt.Sprintf("/api/v1/pairs/%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:]), nil)
			return took, "", err
		}},
		{"filtered", func(ctx context.Context, a *asker, i int) (time.Duration, string, error) {
			params := a.within(time.Hour+time.Duration(i%20)*time.Hour, time.Duration(i%20)*time.Hour, i)
			params.Set("q", "status:5xx app:"+corpus.App(i%corpus.Apps))
			params.Set("limit", "100")
			_, took, err := a.list(ctx, params)
			return took, "", err
		}},
		stats("histogram", "/api/v1/stats/histogram", url.Values{"buckets": {"288"}}),
		stats("edges", "/api/v1/stats/map", nil),
		stats("endpoints", "/api/v1/stats/endpoints", nil),
		stats("facets", "/api/v1/stats/facets", url.Values{"fields": {strings.Join(facetFields, ",")}}),
		{"rare", func(ctx context.Context, a *asker, i int) (time.Duration, string, error) {
			params := a.within(25*time.Hour, -time.Hour, i)
			params.Set("q", corpus.Rare)
			params.Set("limit", "100")
			p, took, err := a.list(ctx, params)
			return took, expect(p, err, corpus.Needles), err
		}},
		{"common", func(ctx context.Context, a *asker, i int) (time.Duration, string, error) {
			params := a.within(24*time.Hour, 0, i)
			params.Set("q", corpus.Common)
			params.Set("limit", "100")
			p, took, err := a.list(ctx, params)
			return took, expect(p, err, 100), err
		}},
	}
}

// expect says what is wrong with a list that should have so many pairs.
func expect(p *page, err error, want int) string {
	switch {
	case err != nil || p == nil:
		return ""
	case p.Partial:
		return fmt.Sprintf("partial: %d pairs, %d expected", len(p.Pairs), want)
	case len(p.Pairs) != want:
		return fmt.Sprintf("%d pairs, %d expected", len(p.Pairs), want)
	}
	return ""
}

// scan looks for a substring that is nowhere, in the newest so many bytes, and
// gives how many of them it looked through.
func (a *asker) scan(ctx context.Context, pairBytes float64, most float64) (bytes float64, took time.Duration, err error) {
	span := a.corpus.To - a.corpus.From
	share := min(1, most/(pairBytes*float64(a.corpus.Pairs)))
	params := a.within(time.Duration(float64(span)*share), 0, 0)
	params.Set("q", "*qzxjkvwq*")
	params.Set("limit", "10")
	for {
		p, t, err := a.list(ctx, params)
		if err != nil {
			return 0, 0, err
		}
		took += t
		if p.Next == nil {
			return share * pairBytes * float64(a.corpus.Pairs), took, nil
		}
		params.Set("cursor", *p.Next)
	}
}

// repeat asks a question again and again, and says how often.
func (a *asker) repeat(ctx context.Context, q question, times int, most time.Duration) (Figure, int) {
	var samples []time.Duration
	words := ""
	began := time.Now()
	for i := range times {
		took, w, err := q.ask(ctx, a, i)
		if err != nil {
			return Figure{Missing: err.Error()}, 0
		}
		samples = append(samples, took)
		if w != "" {
			words = w
		}
		if time.Since(began) > most && i > 0 {
			break
		}
	}
	f := spread(samples)
	if f.Note = words; len(samples) < times {
		f.Note = strings.TrimPrefix(f.Note+fmt.Sprintf("; %d repeats", len(samples)), "; ")
	}
	return f, len(samples)
}
