package ledger

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// Tail follows the live tail, calls row for every pair, and returns the
// cursor of the last when row wants no more or ctx ends. cursor is where an
// earlier one stopped, or empty.
func (a *Analyzer) Tail(ctx context.Context, query, cursor string, row func(Row) (more bool)) (string, error) {
	v := url.Values{}
	if query != "" {
		v.Set("q", query)
	}
	if cursor != "" {
		v.Set("cursor", cursor)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.URL+"/api/v1/tail?"+v.Encode(), nil)
	if err != nil {
		return cursor, err
	}
	// A tail has no end, so it must not have the client's deadline.
	resp, err := (&http.Client{Transport: a.HTTP.Transport}).Do(req)
	if err != nil {
		return cursor, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return cursor, fmt.Errorf("open tail: status %d", resp.StatusCode)
	}
	sc := bufio.NewScanner(resp.Body)
	sc.Buffer(nil, 1<<20)
	var event, data string
	for sc.Scan() {
		name, value, _ := strings.Cut(sc.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "event":
			event = value
		case "id":
			cursor = value
		case "data":
			data += value
		case "":
			if sc.Text() != "" { // a comment
				continue
			}
			if event == "pair" {
				var r Row
				if err := json.Unmarshal([]byte(data), &r); err != nil {
					return cursor, fmt.Errorf("decode event: %w", err)
				}
				if !row(r) {
					return cursor, nil
				}
			}
			event, data = "", ""
		}
	}
	if err := ctx.Err(); err != nil {
		return cursor, err
	}
	return cursor, sc.Err()
}
