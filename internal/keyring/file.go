package keyring

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"time"

	"github.com/weir-capture/weir/internal/atomicfile"
	"github.com/weir-capture/weir/internal/vfs"
)

const (
	formatNow = 1
	// wrappedLen is a nonce, a key and a tag.
	wrappedLen = 12 + KeyLen + 16
	// maxFile bounds what is read.
	maxFile = 16 << 20
)

// file is what keys.json has in it.
type file struct {
	Format int     `json:"format"`
	Serial uint64  `json:"serial"`
	Ring   string  `json:"ring"`
	Master string  `json:"master"`
	Last   uint16  `json:"last"`
	Keys   []entry `json:"keys"`
	Sum    string  `json:"sum"`
}

type entry struct {
	ID       uint16    `json:"id"`
	Day      string    `json:"day"`
	Wrapped  []byte    `json:"wrapped,omitempty"`
	Shredded time.Time `json:"shredded,omitzero"`
}

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	// sumField stands before the digits of the checksum.
	sumField = []byte(`"sum": "`)
)

// sums gives the checksum that the bytes have, and the one they should.
func sums(b []byte) (has, want string, at int) {
	at = bytes.LastIndex(b, sumField)
	if at < 0 || len(b) < at+len(sumField)+8 {
		return "", "none", 0
	}
	at += len(sumField)
	sum := crc32.Update(crc32.Checksum(b[:at], castagnoli), castagnoli, b[at+8:])
	return string(b[at : at+8]), fmt.Sprintf("%08x", sum), at
}

func (f file) encode() ([]byte, error) {
	f.Sum = "00000000"
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode keys: %w", err)
	}
	b = append(b, '\n')
	_, want, at := sums(b)
	copy(b[at:], want)
	return b, nil
}

// decode reads what encode made, and nothing else.
func decode(b []byte) (f file, err error) {
	if has, want, _ := sums(b); has != want {
		return f, fmt.Errorf("%w: its checksum is %q, and should be %q", errMalformed, has, want)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(&f); err != nil {
		return f, fmt.Errorf("%w: %w", errMalformed, err)
	}
	if f.Format != formatNow {
		return f, fmt.Errorf("it has format %d, this program knows %d", f.Format, formatNow)
	}
	if b, err := hex.DecodeString(f.Ring); err != nil || len(b) != 16 {
		return f, fmt.Errorf("%w: no id of a ring", errMalformed)
	}
	if b, err := hex.DecodeString(f.Master); err != nil || len(b) != 8 {
		return f, fmt.Errorf("%w: no id of a master key", errMalformed)
	}
	seen := map[uint16]bool{}
	for _, k := range f.Keys {
		_, day := time.Parse(dayFormat, k.Day)
		switch {
		case k.ID == 0 || k.ID > f.Last || seen[k.ID]:
			return f, fmt.Errorf("%w: id %d", errMalformed, k.ID)
		case day != nil:
			return f, fmt.Errorf("%w: day of key %d", errMalformed, k.ID)
		case k.Wrapped != nil && len(k.Wrapped) != wrappedLen, k.Wrapped == nil && k.Shredded.IsZero():
			return f, fmt.Errorf("%w: key %d is %d bytes long", errMalformed, k.ID, len(k.Wrapped))
		}
		seen[k.ID] = true
	}
	return f, nil
}

// readFiles gives the newer of the two files; whole is false when the other one
// does not say the same.
func readFiles(dir vfs.FS) (f file, whole bool, err error) {
	whole, found := true, false
	var bad error
	for _, name := range []string{FileName, CopyName} {
		b, err := atomicfile.Read(dir, name, maxFile)
		var got file
		if err == nil {
			got, err = decode(b)
		}
		switch {
		case errors.Is(err, fs.ErrNotExist):
			whole = false
		case err != nil && errors.Is(err, errMalformed):
			whole, bad = false, fmt.Errorf("%s: %w", name, err)
		case err != nil:
			return f, false, fmt.Errorf("%s: %w", name, err)
		case !found:
			f, found = got, true
		case got.Serial != f.Serial:
			whole = false
			if got.Serial > f.Serial {
				f = got
			}
		}
	}
	switch {
	case found:
		return f, whole, nil
	case bad != nil:
		return f, false, fmt.Errorf("%w; without it what was encrypted cannot be read: put it back from a backup", bad)
	}
	return f, false, fs.ErrNotExist
}

// replace is atomicfile.Write that leaves nothing of the file that was there:
// it is overwritten once the new one is durable in its place.
func replace(dir vfs.FS, name string, b []byte) (err error) {
	old, err := dir.OpenFile(name, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return atomicfile.Write(dir, name, b)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, old.Close()) }()
	if err := atomicfile.Write(dir, name, b); err != nil {
		return err
	}
	n, err := old.Size()
	if err != nil {
		return err
	}
	if _, err := old.WriteAt(make([]byte, n), 0); err != nil {
		return fmt.Errorf("overwrite the old one: %w", err)
	}
	return old.Sync()
}
