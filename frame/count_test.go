package frame_test

import (
	"errors"
	"testing"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/frame"
)

func TestCount(t *testing.T) {
	head := &capturev1.FrameHead{Source: &capturev1.Source{Epoch: make([]byte, frame.EpochLen)}, Received: 3}
	_, body, err := frame.Make(head, []*capturev1.RRPair{{Path: "/a"}, {Path: "/b"}, {Path: "/c"}})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := frame.Count(body); err != nil || n != 3 {
		t.Errorf("counted %d, %v", n, err)
	}
	body[len(body)-1] ^= 1
	for _, bad := range [][]byte{nil, []byte("no zstd at all"), body, body[:len(body)-2]} {
		if n, err := frame.Count(bad); !errors.Is(err, frame.ErrMalformed) {
			t.Errorf("%q: counted %d, %v", bad, n, err)
		}
	}
}

func FuzzCount(f *testing.F) {
	head := &capturev1.FrameHead{Source: &capturev1.Source{Epoch: make([]byte, frame.EpochLen)}, Received: 1}
	_, body, err := frame.Make(head, []*capturev1.RRPair{{Path: "/a"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Fuzz(func(t *testing.T, body []byte) {
		n, err := frame.Count(body)
		if (err != nil) != errors.Is(err, frame.ErrMalformed) || n < 0 {
			t.Errorf("counted %d, %v", n, err)
		}
	})
}
