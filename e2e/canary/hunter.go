package canary

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Hunter looks for secrets, in every form that Forms has, and fails its test
// for each that it finds. It is for one goroutine.
type Hunter struct {
	// Answers, Files and Bytes were looked through, Frames of them were packed
	// ones; Hits were found.
	Answers, Files, Frames, Hits int
	Bytes                        int64

	t      testing.TB
	client *http.Client
	// forms by their first four bytes. There are hundreds of them, and files
	// have gigabytes: first has a bit for each hash of such four bytes, so that
	// nearly every place is passed over after one look.
	forms map[uint32][]form
	first [1 << hashBits / 64]uint64
	seen  map[string]stamp
}

const hashBits = 20

func hash(four uint32) uint32 { return four * 2654435761 >> (32 - hashBits) }

type form struct {
	secret Secret
	name   string
	text   []byte
}

// stamp tells a file that changed from one that did not.
type stamp struct {
	size int64
	at   time.Time
}

// NewHunter makes one that looks for these.
func NewHunter(t testing.TB, secrets []Secret) *Hunter {
	h := &Hunter{t: t, client: &http.Client{Timeout: time.Minute}, forms: map[uint32][]form{}, seen: map[string]stamp{}}
	for _, s := range secrets {
		for name, text := range Forms(s) {
			four := binary.LittleEndian.Uint32(text) // every form has more
			h.forms[four] = append(h.forms[four], form{s, name, text})
			h.first[hash(four)/64] |= 1 << (hash(four) % 64)
		}
	}
	return h
}

// Look searches some bytes.
func (h *Hunter) Look(where string, b []byte) {
	h.Bytes += int64(len(b))
	for i := 0; i+4 <= len(b); i++ {
		four := binary.LittleEndian.Uint32(b[i:])
		if at := hash(four); h.first[at/64]&(1<<(at%64)) == 0 {
			continue
		}
		for _, f := range h.forms[four] {
			if bytes.HasPrefix(b[i:], f.text) {
				h.Hits++
				if h.Hits <= 40 {
					h.t.Errorf("%s: %s, %s: %q", where, f.secret.Kind, f.name, b[max(0, i-60):min(len(b), i+len(f.text)+20)])
				}
			}
		}
	}
}

// Get searches an answer with its head.
func (h *Hunter) Get(url string) {
	h.t.Helper()
	resp, err := h.client.Get(url)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatalf("read %s: %v", url, err)
	}
	h.Answers++
	var head bytes.Buffer
	_ = resp.Header.Write(&head) // to memory
	h.Look(url, append(head.Bytes(), b...))
}

// Dir searches every file below a folder that is new or changed since it was
// last asked, and what is packed in them. Programs may write to them and
// remove them meanwhile.
func (h *Hunter) Dir(dir string) {
	h.t.Helper()
	d, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(256<<20), zstd.WithDecoderConcurrency(1))
	if err != nil {
		h.t.Fatal(err)
	}
	defer d.Close()
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) || err == nil && h.seen[path] == (stamp{info.Size(), info.ModTime()}) {
			return nil
		}
		if err != nil {
			return err
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		h.seen[path] = stamp{info.Size(), info.ModTime()}
		h.Files++
		h.Look(path, b)
		h.packed(d, path, b)
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

// packed searches the zstd frames among some bytes.
func (h *Hunter) packed(d *zstd.Decoder, path string, b []byte) {
	magic := []byte{0x28, 0xb5, 0x2f, 0xfd}
	for at := 0; ; at++ {
		i := bytes.Index(b[at:], magic)
		if i < 0 {
			return
		}
		at += i
		// It is followed by other things, which the decoder takes for an error;
		// what it gave before that counts.
		if err := d.Reset(bytes.NewReader(b[at:])); err != nil {
			continue
		}
		if plain, _ := io.ReadAll(d); len(plain) > 0 {
			h.Frames++
			h.Look(path+" (packed)", plain)
		}
	}
}
