package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// Shape is how a program writes a log line. Both are JSON, one object a line;
// slog's own handler cannot reorder keys, which is why this one exists.
type Shape uint8

const (
	// Ordered writes info (the level, upper case), T (RFC 3339, milliseconds,
	// UTC), M, then the fields in the order in which they were given.
	Ordered Shape = iota
	// Sorted writes level (lower case), msg and time (RFC 3339, seconds, UTC)
	// with all other fields, keys in alphabetical order.
	Sorted
)

// NewHandler writes records of at least level to w in the given shape.
func NewHandler(w io.Writer, shape Shape, level slog.Level) slog.Handler {
	return &handler{out: &output{w: w}, shape: shape, level: level}
}

// output keeps lines whole when several goroutines log.
type output struct {
	mu sync.Mutex
	w  io.Writer
}

type handler struct {
	out    *output
	shape  Shape
	level  slog.Level
	fields []field
	prefix string // group names, joined by dots
}

type field struct {
	key string
	val slog.Value
}

func (h *handler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level }

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	c.fields = slices.Clone(h.fields)
	for _, a := range attrs {
		c.fields = appendAttr(c.fields, h.prefix, a)
	}
	return &c
}

func (h *handler) WithGroup(name string) slog.Handler {
	c := *h
	c.prefix += name + "."
	return &c
}

func appendAttr(fs []field, prefix string, a slog.Attr) []field {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, g := range v.Group() {
			fs = appendAttr(fs, prefix, g)
		}
		return fs
	}
	if a.Key == "" {
		return fs
	}
	return append(fs, field{prefix + a.Key, v})
}

func (h *handler) Handle(_ context.Context, r slog.Record) error {
	var fs []field
	switch h.shape {
	case Ordered:
		fs = append(
			fs,
			field{"info", slog.StringValue(r.Level.String())},
			field{"T", slog.StringValue(r.Time.UTC().Format("2006-01-02T15:04:05.000Z"))},
			field{"M", slog.StringValue(r.Message)},
		)
	case Sorted:
		fs = append(
			fs,
			field{"level", slog.StringValue(strings.ToLower(r.Level.String()))},
			field{"msg", slog.StringValue(r.Message)},
			field{"time", slog.StringValue(r.Time.UTC().Format("2006-01-02T15:04:05Z"))},
		)
	}
	fs = append(fs, h.fields...)
	r.Attrs(func(a slog.Attr) bool {
		fs = appendAttr(fs, h.prefix, a)
		return true
	})
	if h.shape == Sorted {
		slices.SortStableFunc(fs, func(a, b field) int { return strings.Compare(a.key, b.key) })
	}
	var line bytes.Buffer
	line.WriteByte('{')
	for i, f := range fs {
		if i > 0 {
			line.WriteByte(',')
		}
		line.Write(jsonText(f.key))
		line.WriteByte(':')
		line.Write(jsonValue(f.val))
	}
	line.WriteString("}\n")
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	_, err := h.out.w.Write(line.Bytes())
	return err
}

// jsonText escapes <, > and & as encoding/json does: the guide's lines show
// it so ("\u003cnil\u003e").
func jsonText(s string) []byte {
	b, err := json.Marshal(s)
	if err != nil { // cannot happen: invalid UTF-8 is replaced
		return []byte(`""`)
	}
	return b
}

func jsonValue(v slog.Value) []byte {
	switch v.Kind() {
	case slog.KindInt64, slog.KindUint64, slog.KindBool:
		return []byte(v.String())
	case slog.KindDuration:
		return jsonText(v.Duration().String())
	case slog.KindTime:
		return jsonText(v.Time().UTC().Format(time.RFC3339Nano))
	case slog.KindString:
		return jsonText(v.String())
	}
	if err, ok := v.Any().(error); ok {
		return jsonText(err.Error())
	}
	b, err := json.Marshal(v.Any())
	if err != nil {
		return jsonText(fmt.Sprint(v.Any()))
	}
	return b
}
