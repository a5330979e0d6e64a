package segstore

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/weir-capture/weir/internal/atomicfile"
	"github.com/weir-capture/weir/internal/vfs"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Layout of the data directory.
const (
	lockName = "LOCK"
	metaName = "META.json"
	// copyName is the same file again: one of the two survives whatever
	// happens to the other.
	copyName    = "META.copy.json"
	damagedName = ".damaged" // behind a name: what was found there
	logDir      = "seg"
	indexDir    = "index"
)

// Version 2 of the layout added the copy and the checksum, and let records and
// states have version 2. What version 1 has left is read, and is version 2
// from then on.
const formatNow = 2

// meta is META.json: what must be known before anything else is read.
type meta struct {
	// Format is the version of the layout and of the records' wrapper.
	Format int    `json:"format"`
	Engine string `json:"engine"`
	// Store identifies this store for as long as it lives.
	Store   string    `json:"store"`
	Created time.Time `json:"created"`
	// Sum is the CRC-32C of the file without these eight digits.
	Sum string `json:"sum,omitempty"`
}

const engineName = "segstore"

// directory is an open data directory, locked for this process.
type directory struct {
	fsys vfs.FS
	lock io.Closer
	meta meta
}

func openDirectory(path string, now time.Time, log *slog.Logger) (d *directory, err error) {
	fsys, err := vfs.Dir(path)
	if err != nil {
		return nil, fmt.Errorf("open data directory: %w", err)
	}
	d = &directory{fsys: fsys}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
			d = nil
		}
	}()
	if d.lock, err = lockDirectory(fsys); err != nil {
		return d, err
	}
	d.meta, err = identify(fsys, now, log)
	return d, err
}

func (d *directory) close() error {
	var errs []error
	if d.lock != nil {
		errs = append(errs, d.lock.Close())
	}
	return errors.Join(append(errs, d.fsys.Close())...)
}

// maxMeta bounds what is read of META.json.
const maxMeta = 64 << 10

// identify reads which store this is, and leaves both files whole. What is
// damaged is kept beside them. Where nothing can be read any more the store
// gets a new name: all that it holds is in the log.
func identify(fsys vfs.FS, now time.Time, log *slog.Logger) (meta, error) {
	var m meta
	found, whole := false, true
	for _, name := range []string{metaName, copyName} {
		b, err := atomicfile.Read(fsys, name, maxMeta)
		var got meta
		if err == nil {
			got, err = decodeMeta(b)
		}
		switch {
		case err == nil && (got.Format > formatNow || got.Engine != engineName):
			return m, fmt.Errorf("data directory has format %d of %q, this program knows 1 to %d of %q", got.Format, got.Engine, formatNow, engineName)
		case err == nil && !found:
			m, found = got, true
			whole = whole && got.Format == formatNow
		case err == nil && got != m:
			whole = false
		case errors.Is(err, fs.ErrNotExist):
			whole = false
		case err != nil:
			whole = false
			log.Error("A file of the data directory is damaged; it is kept beside and made anew",
				slog.String("file", name), slog.String("kept", name+damagedName), slog.String("error", err.Error()))
			if err := fsys.Rename(name, name+damagedName); err != nil {
				return m, fmt.Errorf("keep damaged %s: %w", name, err)
			}
		}
	}
	if whole {
		return m, nil
	}
	if !found {
		m = meta{Engine: engineName, Store: uuid.NewString(), Created: now.UTC()}
	}
	m.Format = formatNow
	b, err := encodeMeta(m)
	if err != nil {
		return m, err
	}
	for _, name := range []string{metaName, copyName} {
		if err := atomicfile.Write(fsys, name, b); err != nil {
			return m, err
		}
	}
	return decodeMeta(b)
}

// sumField stands before the digits of the checksum.
var sumField = []byte(`"sum": "`)

// checkedMeta splits a file into the digits of its checksum, none when it has
// none, and what they should be.
func checkedMeta(b []byte) (has, want string) {
	at := bytes.LastIndex(b, sumField)
	if at < 0 || len(b) < at+len(sumField)+8 {
		return "", ""
	}
	at += len(sumField)
	sum := crc32.Update(crc32.Checksum(b[:at], castagnoli), castagnoli, b[at+8:])
	return string(b[at : at+8]), fmt.Sprintf("%08x", sum)
}

func decodeMeta(b []byte) (m meta, err error) {
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("decode %s: %w", metaName, err)
	}
	has, want := checkedMeta(b)
	switch legacy := m.Format == 1 && has == ""; {
	case !legacy && (has == "" || has != want):
		return m, fmt.Errorf("decode %s: its checksum is %q, and should be %q", metaName, has, want)
	case legacy && m.Engine != engineName:
		return m, fmt.Errorf("decode %s: engine %q", metaName, m.Engine)
	}
	if _, err := uuid.Parse(m.Store); err != nil {
		return m, fmt.Errorf("decode %s: store: %w", metaName, err)
	}
	return m, nil
}

func encodeMeta(m meta) ([]byte, error) {
	m.Sum = "00000000"
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", metaName, err)
	}
	b = append(b, '\n')
	_, sum := checkedMeta(b)
	copy(b[bytes.LastIndex(b, sumField)+len(sumField):], sum)
	return b, nil
}
