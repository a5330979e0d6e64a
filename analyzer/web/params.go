package web

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/weir-capture/weir/analyzer/store"
	httpv1 "github.com/weir-capture/weir/api/http/v1"
	"github.com/weir-capture/weir/daemon"
	"github.com/weir-capture/weir/query"
)

// badParam is a parameter that cannot be read; detail says what would be
// right.
func badParam(format string, args ...any) *httpv1.Problem {
	return problem(http.StatusBadRequest, httpv1.ProblemParameter, fmt.Sprintf(format, args...))
}

// shown is a value of the caller's, short enough for an error.
func shown(v string) string {
	const most = 64
	if len(v) > most {
		return strconv.Quote(v[:most]) + "…"
	}
	return strconv.Quote(v)
}

// readQuery reads q; nil selects everything. A mistake in it is a
// *query.Error, one that is too long a problem.
func readQuery(q string) (*query.Query, error) {
	if q == "" {
		return nil, nil
	}
	if len(q) > httpv1.MaxQueryLen {
		return nil, badParam("q has %d bytes; want at most %d.", len(q), httpv1.MaxQueryLen)
	}
	return query.Parse(q)
}

// parseQuery is readQuery for calls that cannot go on with a mistake: it is a
// problem too.
func parseQuery(q string) (*query.Query, error) {
	parsed, err := readQuery(q)
	if mistake, ok := errors.AsType[*query.Error](err); ok {
		p := problem(http.StatusBadRequest, httpv1.ProblemQuery, mistake.Error())
		p.Title = "The query has a mistake"
		_, all := query.ParseAll(q)
		for _, m := range all {
			p.Errors = append(p.Errors, problemError(m))
		}
		return nil, p
	}
	return parsed, err
}

func problemError(mistake *query.Error) httpv1.ProblemError {
	return httpv1.ProblemError{
		Column:     mistake.Column,
		Length:     mistake.Length,
		Message:    mistake.Message,
		Expected:   mistake.Expected,
		Suggestion: mistake.Suggestion,
	}
}

// parseTime reads RFC 3339 or a time before now ("15m"). 0 means not given.
func parseTime(name, v string, now time.Time) (int64, error) {
	if v == "" {
		return 0, nil
	}
	want := badParam("%s=%s is not a time; want RFC 3339 such as %s, or how long ago, such as 15m, 24h or 7d.",
		name, shown(v), now.UTC().Truncate(time.Second).Format(time.RFC3339))
	if d, err := daemon.ParseDuration(v); err == nil {
		if d < 0 {
			return 0, want
		}
		// Before 1970 is before everything, and 0 would be "not given".
		return max(now.Add(-d).UnixNano(), 1), nil
	}
	t, err := time.Parse(time.RFC3339Nano, v)
	if err != nil || t.Year() < 1970 || t.Year() > 2261 {
		// Outside, nanoseconds do not fit 64 bits.
		return 0, want
	}
	// The very first nanosecond would read as "not given".
	return max(t.UnixNano(), 1), nil
}

// parseRange reads from and to; 0 leaves a side open.
func parseRange(from, to string, now time.Time) (int64, int64, error) {
	f, err := parseTime("from", from, now)
	if err != nil {
		return 0, 0, err
	}
	t, err := parseTime("to", to, now)
	if err != nil {
		return 0, 0, err
	}
	if f != 0 && t != 0 && f >= t {
		return 0, 0, badParam("from=%s is not before to=%s; from is included and to is not.", shown(from), shown(to))
	}
	return f, t, nil
}

// parseCount reads a whole number from 1 to most.
func parseCount(name, v string, def, most int) (int, error) {
	if v == "" {
		return def, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > most {
		return 0, badParam("%s=%s is not valid; want a whole number from 1 to %d.", name, shown(v), most)
	}
	return n, nil
}

// parseBool reads a switch.
func parseBool(name, v string) (bool, error) {
	switch v {
	case "", "0", "false":
		return false, nil
	case "1", "true":
		return true, nil
	}
	return false, badParam("%s=%s is not valid; want 1 or 0.", name, shown(v))
}

// parseID reads a pair's id in its one written form.
func parseID(v string) (store.ID, error) {
	id, err := uuid.Parse(v)
	// Parse also takes braces and URNs.
	if err != nil || len(v) != 36 {
		return store.ID{}, badParam("id %s is not valid; want a UUID such as 01997b2c-6d3f-7c44-9d6e-2f6a31c0b8aa.", shown(v))
	}
	return store.ID(id), nil
}

// place is where a list goes on. It carries the bounds of the first page:
// relative ones would otherwise move between two pages.
type place struct {
	from, to int64
	before   store.Key
}

const (
	placeVersion = 1
	placeLen     = 1 + 8 + 8 + 8 + 16
)

func (p place) String() string {
	b := make([]byte, 0, placeLen)
	b = append(b, placeVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(p.from))
	b = binary.BigEndian.AppendUint64(b, uint64(p.to))
	b = binary.BigEndian.AppendUint64(b, uint64(p.before.Time))
	b = append(b, p.before.ID[:]...)
	return base64.RawURLEncoding.EncodeToString(b)
}

func parsePlace(v string) (place, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(v)
	if err != nil || len(b) != placeLen || b[0] != placeVersion {
		return place{}, badParam("cursor=%s is not valid; want the next_cursor of an earlier page, unchanged.", shown(v))
	}
	p := place{
		from: int64(binary.BigEndian.Uint64(b[1:])),
		to:   int64(binary.BigEndian.Uint64(b[9:])),
	}
	p.before.Time = int64(binary.BigEndian.Uint64(b[17:]))
	copy(p.before.ID[:], b[25:])
	if p.from < 0 || p.to < 0 || p.before.Time < 0 {
		return place{}, badParam("cursor=%s is not valid; want the next_cursor of an earlier page, unchanged.", shown(v))
	}
	return p, nil
}

// tailCursor is where a tail stands, for its reader to come back with. It
// names the store: a sequence means nothing in another one, such as that of
// the next demo at the same address.
func tailCursor(storeID string, seq uint64) string {
	at := strconv.FormatUint(seq, 10)
	if storeID == "" {
		return at
	}
	return storeID + "." + at
}

// parseTailCursor reads the id of an event. foreign: it is of another store.
func parseTailCursor(name, v, storeID string) (seq uint64, foreign bool, err error) {
	if v == "" {
		return 0, false, nil
	}
	id, at := "", v
	if i := strings.LastIndexByte(v, '.'); i >= 0 {
		id, at = v[:i], v[i+1:]
	}
	seq, err = strconv.ParseUint(at, 10, 64)
	if err != nil || seq == 0 || seq > math.MaxInt64 {
		return 0, false, badParam("%s=%s is not valid; want the id of an earlier event of the tail, unchanged.", name, shown(v))
	}
	if id != storeID {
		return 0, true, nil
	}
	return seq, false, nil
}
