package frame

import (
	"fmt"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/proto"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// Count is how many pairs a body holds, for one whose head is lost.
func Count(body []byte) (int, error) {
	var h zstd.Header
	if err := h.Decode(body); err != nil {
		return 0, fmt.Errorf("count pairs: %w: %w", ErrMalformed, err)
	}
	if !h.HasFCS || h.FrameContentSize > MaxBodyLen {
		return 0, fmt.Errorf("count pairs: %w: body says that it holds %d bytes", ErrMalformed, h.FrameContentSize)
	}
	raw, err := decompress(body, int(h.FrameContentSize), nil, decoder)
	if err != nil {
		return 0, fmt.Errorf("count pairs: %w: %w", ErrMalformed, err)
	}
	var b capturev1.FrameBody
	if err := proto.Unmarshal(raw, &b); err != nil {
		return 0, fmt.Errorf("count pairs: %w: %w", ErrMalformed, err)
	}
	return len(b.GetPairs()), nil
}
