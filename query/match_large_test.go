package query_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/query"
	"github.com/weir-capture/weir/query/querytest"
)

// A context does not change what matches, however large the body is.
func TestMatchContext(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, p := drawQuery(t).Matcher(), querytest.RandomPair().Draw(t, "pair")
		if ok, err := m.MatchContext(t.Context(), p); err != nil || ok != m.Match(p) {
			t.Errorf("%v, %v, want %v", ok, err, !ok)
		}
	})
	large := bytes.Repeat([]byte("ab \xff\xfe ä\n"), 1<<18)
	body := bytes.Join([][]byte{large, []byte("ab\xffneedle 42\n\tend ä")}, nil)
	p := &capturev1.RRPair{Response: &capturev1.Message{Body: body, BodySize: uint64(len(body))}}
	for src, want := range map[string]bool{
		`body:/needle [0-9]+/`:       true,
		`body:/needle [0-9]+$/`:      false,
		`body:/(?m)needle [0-9]+$/`:  true,
		`body:/\bend ä$/`:            true,
		`body:/^needle/`:             false,
		`body:/(?m)^needle/`:         false,
		`body:/\bneedle/`:            true,
		`body:/.needle/`:             true,
		`body:/absent [0-9]/`:        false,
		`-body:/absent [0-9]/`:       true,
		`body:/end x/ OR body:/end/`: true,
	} {
		q, err := query.Parse(src)
		if err != nil {
			t.Fatal(err)
		}
		m := q.Matcher()
		if got := m.Match(p); got != want {
			t.Errorf("%s: Match says %v", src, got)
		}
		if got, err := m.MatchContext(t.Context(), p); err != nil || got != want {
			t.Errorf("%s: MatchContext says %v, %v", src, got, err)
		}
	}
}

func TestMatchContextEndsWithinABody(t *testing.T) {
	body := bytes.Repeat([]byte("abcdefgh"), 4<<20)
	p := &capturev1.RRPair{Response: &capturev1.Message{Body: body, BodySize: uint64(len(body))}}
	q, err := query.Parse(`-body:/([a-h]+)+z/`)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	started := time.Now()
	ok, err := q.Matcher().MatchContext(ctx, p)
	if took := time.Since(started); ok || !errors.Is(err, context.DeadlineExceeded) || took > 220*time.Millisecond {
		t.Errorf("after %v: %v, %v", took, ok, err)
	}
}
