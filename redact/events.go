package redact

import "bytes"

// events walks server-sent events (WHATWG HTML, section 9.2): what the data
// lines of an event say together is one value. Of a stream that is cut short
// the last event goes if it is not finished.
func (w *work) events(v []byte, cut bool, depth int) (out []byte, changed bool, err error) {
	done := 0
	for from := 0; from < len(v); {
		to, finished := eventEnd(v, from)
		if !finished && cut {
			return append(out, v[done:from]...), true, w.failed
		}
		if next, ok := w.event(v[from:to], depth); ok {
			out = append(append(out, v[done:from]...), next...)
			changed, done = true, to
		}
		from = to
	}
	if !changed {
		return v, false, w.failed
	}
	return append(out, v[done:]...), true, w.failed
}

// eventEnd is behind the empty line that ends an event.
func eventEnd(v []byte, from int) (end int, finished bool) {
	for at := from; at < len(v); {
		line, next := eventLine(v, at)
		if len(line) == 0 {
			return next, true
		}
		at = next
	}
	return len(v), false
}

// eventLine reads a line, whichever of the three ends it has.
func eventLine(v []byte, at int) (line []byte, next int) {
	i := bytes.IndexAny(v[at:], "\r\n")
	if i < 0 {
		return v[at:], len(v)
	}
	end := at + i
	next = end + 1
	if v[end] == '\r' && next < len(v) && v[next] == '\n' {
		next++
	}
	return v[at:end], next
}

// event redacts one event. If its data changes, it is written in the place of
// the first line of it.
func (w *work) event(v []byte, depth int) (out []byte, changed bool) {
	data, has := []byte(nil), false
	for at := 0; at < len(v); {
		var line []byte
		line, at = eventLine(v, at)
		if text, ok := dataOf(line); ok {
			if has {
				data = append(data, '\n')
			}
			data, has = append(data, text...), true
		}
	}
	data, dataChanged := w.value(where{place: inText, label: "data"}, data, depth)
	written := false
	for at := 0; at < len(v); {
		line, next := eventLine(v, at)
		end := v[at+len(line) : next]
		at = next
		if _, ok := dataOf(line); ok && dataChanged {
			if !written {
				for text := range bytes.SplitSeq(data, []byte("\n")) {
					out = append(append(append(out, "data: "...), text...), '\n')
				}
				written = true
			}
			continue
		} else if !ok {
			if next, ok := w.inside(where{place: inText, label: "(event)"}, line, ruleSet{}, depth); ok {
				line, changed = next, true
			}
		}
		out = append(append(out, line...), end...)
	}
	return out, changed || dataChanged
}

// dataOf is the value of a data line.
func dataOf(line []byte) ([]byte, bool) {
	line = bytes.TrimPrefix(line, []byte("\ufeff"))
	text, ok := bytes.CutPrefix(line, []byte("data"))
	if !ok || len(text) > 0 && text[0] != ':' {
		return nil, false
	}
	if len(text) > 0 {
		text = bytes.TrimPrefix(text[1:], []byte(" "))
	}
	return text, true
}
