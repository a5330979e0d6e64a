package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Pairs are differences of goproxy's counts. Shed pairs are whole but for
// their bodies, which memory was short of.
type Pairs struct{ Seen, Acked, Dropped, Shed uint64 }

func (p *Pairs) add(q *Pairs) {
	p.Seen, p.Acked, p.Dropped, p.Shed = p.Seen+q.Seen, p.Acked+q.Acked, p.Dropped+q.Dropped, p.Shed+q.Shed
}

// pairs asks goproxy for its counts; nil for other programs.
func (p *Process) pairs(ctx context.Context) (*Pairs, error) {
	if p.diagnostics == "" {
		return nil, nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.diagnostics, http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask goproxy: %w", err)
	}
	defer resp.Body.Close()
	var d struct {
		Pairs struct {
			Seen    uint64
			Dropped map[string]uint64
		}
		Acked uint64
	}
	if err := json.NewDecoder(resp.Body).Decode(&d); err != nil {
		return nil, fmt.Errorf("ask goproxy: %w", err)
	}
	shed, err := p.shed(ctx)
	if err != nil {
		return nil, err
	}
	out := &Pairs{Shed: shed, Seen: d.Pairs.Seen, Acked: d.Acked}
	for _, n := range d.Pairs.Dropped {
		out.Dropped += n
	}
	return out, nil
}

// delta is what was counted since before, once everything has arrived.
func (p *Process) delta(ctx context.Context, before *Pairs) (*Pairs, error) {
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		now, err := p.pairs(ctx)
		if err != nil {
			return nil, err
		}
		d := &Pairs{Seen: now.Seen - before.Seen, Acked: now.Acked - before.Acked, Dropped: now.Dropped - before.Dropped, Shed: now.Shed - before.Shed}
		if d.Seen <= d.Acked+d.Dropped || time.Now().After(end) {
			return d, nil
		}
	}
}

// shed asks how many pairs had bodies shortened or let go.
func (p *Process) shed(ctx context.Context) (uint64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.metrics, http.NoBody)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, fmt.Errorf("ask goproxy's metrics: %w", err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if name, value, _ := strings.Cut(lines.Text(), " "); strings.HasSuffix(name, "bodies_shed_total") {
			n, err := strconv.ParseFloat(value, 64)
			return uint64(n), err
		}
	}
	return 0, errors.Join(errors.New("goproxy's metrics do not tell what was shed"), lines.Err())
}
