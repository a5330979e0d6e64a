package interchange

import (
	"encoding/json"
	"fmt"
	"io"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

type jsonlWriter struct{ w io.Writer }

func (j *jsonlWriter) Write(p Pair) error {
	return writeLine(j.w, documentOf(p.RRPair))
}

func (j *jsonlWriter) Close() error { return nil }

// writeLine writes v and a line feed at once.
func writeLine(w io.Writer, v any) error {
	b, err := marshal(v)
	if err != nil {
		return fmt.Errorf("encode pair: %w", err)
	}
	if _, err := w.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("write pair: %w", err)
	}
	return nil
}

func parseJSONL(line []byte) (*capturev1.RRPair, error) {
	var d document
	if err := json.Unmarshal(line, &d); err != nil {
		return nil, err
	}
	return d.pair()
}
