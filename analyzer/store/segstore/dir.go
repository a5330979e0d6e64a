package segstore

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/google/uuid"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/internal/vfs"
)

// Layout of the data directory.
const (
	lockName  = "LOCK"
	metaName  = "META.json"
	logDir    = "seg"
	indexDir  = "index"
	formatNow = 1
)

// meta is META.json: what must be known before anything else is read.
type meta struct {
	// Format is the version of the layout and of the records' wrapper.
	Format int    `json:"format"`
	Engine string `json:"engine"`
	// Store identifies this store for as long as it lives.
	Store   string    `json:"store"`
	Created time.Time `json:"created"`
}

const engineName = "segstore"

// directory is an open data directory, locked for this process.
type directory struct {
	fsys vfs.FS
	lock io.Closer
	meta meta
}

func openDirectory(path string, now time.Time) (d *directory, err error) {
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
	if d.lock, err = fsys.Lock(lockName); err != nil {
		if locked, ok := errors.AsType[*vfs.LockedError](err); ok {
			return d, fmt.Errorf("%w: %w", store.ErrLocked, locked)
		}
		return d, fmt.Errorf("lock data directory: %w", err)
	}
	d.meta, err = readMeta(fsys)
	if errors.Is(err, fs.ErrNotExist) {
		d.meta = meta{Format: formatNow, Engine: engineName, Store: uuid.NewString(), Created: now.UTC()}
		return d, writeMeta(fsys, d.meta)
	}
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

func readMeta(fsys vfs.FS) (m meta, err error) {
	f, err := fsys.OpenFile(metaName, os.O_RDONLY, 0)
	if err != nil {
		return m, fmt.Errorf("open %s: %w", metaName, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b, err := io.ReadAll(io.NewSectionReader(f, 0, maxMeta))
	if err != nil {
		return m, fmt.Errorf("read %s: %w", metaName, err)
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("decode %s: %w", metaName, err)
	}
	if m.Format != formatNow || m.Engine != engineName {
		return m, fmt.Errorf("data directory has format %d of %q, this program knows %d of %q", m.Format, m.Engine, formatNow, engineName)
	}
	if _, err := uuid.Parse(m.Store); err != nil {
		return m, fmt.Errorf("decode %s: store: %w", metaName, err)
	}
	return m, nil
}

// writeMeta makes the file appear whole or not at all.
func writeMeta(fsys vfs.FS, m meta) (err error) {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", metaName, err)
	}
	const temp = metaName + ".tmp"
	f, err := fsys.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("make %s: %w", temp, err)
	}
	_, err = f.WriteAt(append(b, '\n'), 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", temp, err)
	}
	if err := fsys.Rename(temp, metaName); err != nil {
		return fmt.Errorf("rename %s: %w", temp, err)
	}
	if err := fsys.SyncDir(); err != nil {
		return fmt.Errorf("sync data directory: %w", err)
	}
	return nil
}
