package segstore

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/segstore/segidx"
	"github.com/weir-capture/weir/internal/atomicfile"
	"github.com/weir-capture/weir/internal/vfs"
)

// A backup is a data directory as it was at one moment: the files beside the
// store (Options.Beside), which may say less than the log and never more; the
// segments up to where their records were durable, with their files; and
// META.json, which comes last: where it is missing the rest is not all there.
// The index is left out, as it can be made again.

// backupFile is one file of a backup.
type backupFile struct {
	name string // with slashes
	size int64
	// Either is set: what is read from the file up to size, or content.
	f       vfs.File
	content []byte
	// whole: nobody changes it any more, so that it may be linked to.
	whole bool
}

// maxBeside bounds a file beside the store.
const maxBeside = 256 << 20

// Backup writes a consistent copy of the store as a tar stream (POSIX.1-2001),
// while it runs or not; Restore, or tar, makes a data directory of it. What
// retention removes meanwhile is in it all the same. progress, when not nil, is
// told how far it is in bytes.
func (s *Store) Backup(ctx context.Context, w io.Writer, progress func(store.Progress)) error {
	tw := tar.NewWriter(w)
	now := s.opt.Now()
	err := s.backup(ctx, progress, func(f *backupFile, content io.Reader) error {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Size: f.size, Mode: 0o600, ModTime: now, Format: tar.FormatPAX}
		h.ModTime = h.ModTime.Truncate(time.Second)
		if err := tw.WriteHeader(h); err != nil {
			return err
		}
		_, err := io.Copy(tw, content)
		return err
	})
	if err == nil {
		err = tw.Close()
	}
	if err != nil {
		return fmt.Errorf("back up store: %w", err)
	}
	return nil
}

// BackupDir makes a consistent copy of the store in a directory that is missing
// or empty, as Backup does. Segments to which nothing is added are linked to
// where the file system can do that, so that they take no room of their own
// until retention removes them here. It returns when everything is durable.
func (s *Store) BackupDir(ctx context.Context, dir string, progress func(store.Progress)) error {
	err := fillDirectory(dir, func(top, segs vfs.FS) error {
		return s.backup(ctx, progress, func(f *backupFile, content io.Reader) error {
			d, name := top, f.name
			if in, base := path.Split(f.name); in != "" {
				d, name = segs, base
			}
			if f.whole && os.Link(filepath.Join(s.opt.LogFS.Path(), name), filepath.Join(d.Path(), name)) == nil {
				return nil
			}
			return writeFile(d, name, content)
		})
	})
	if err != nil {
		return fmt.Errorf("back up store: %w", err)
	}
	return nil
}

// backup gives each file of a backup to put.
func (s *Store) backup(ctx context.Context, progress func(store.Progress), put func(*backupFile, io.Reader) error) (err error) {
	files, err := s.backupFiles()
	defer func() {
		for _, f := range files {
			if f.f != nil {
				err = errors.Join(err, f.f.Close())
			}
		}
	}()
	if err != nil {
		return err
	}
	var done store.Progress
	for _, f := range files {
		done.Of += f.size
	}
	for i := range files {
		f := &files[i]
		var content io.Reader = bytes.NewReader(f.content)
		if f.f != nil {
			content = io.NewSectionReader(f.f, 0, f.size)
		}
		if err := put(f, &watched{ctx, content, &done, progress}); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return nil
}

// watched reads until a context ends, and tells how far it is.
type watched struct {
	ctx      context.Context
	r        io.Reader
	done     *store.Progress
	progress func(store.Progress)
}

func (r *watched) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := r.r.Read(b)
	r.done.Scanned += int64(n)
	if r.progress != nil && n > 0 {
		r.progress(*r.done)
	}
	return n, err
}

// backupFiles opens everything at one moment: what is removed after that can
// still be read.
func (s *Store) backupFiles() (files []backupFile, err error) {
	s.removing.Lock()
	defer s.removing.Unlock()
	read := func(name string, limit int64) error {
		b, err := atomicfile.Read(s.dir.fsys, name, limit)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		files = append(files, backupFile{name: name, size: int64(len(b)), content: b})
		return err
	}
	// First what counts the log's records, so that none is counted that the
	// backup does not have.
	for _, name := range s.opt.Beside {
		if err := read(name, maxBeside); err != nil {
			return files, err
		}
	}
	segs := s.seglog.Segments()
	for i := range segs {
		seg := &segs[i]
		f, err := s.opt.LogFS.OpenFile(seg.Name, os.O_RDONLY, 0)
		if err != nil {
			return files, fmt.Errorf("open segment: %w", err)
		}
		sealed := i < len(segs)-1
		size := int64(seg.End - seg.Base)
		length, err := f.Size()
		files = append(files, backupFile{name: logDir + "/" + seg.Name, size: size, f: f, whole: sealed && length == size})
		if err != nil || length < size {
			return files, fmt.Errorf("open segment %s: %d bytes of %d: %w", seg.Name, length, size, err)
		}
		if _, ok := s.sidecars.of(seg.Base); !ok || !sealed {
			continue
		}
		name := segidx.Name(seg.Name)
		switch f, err := s.opt.LogFS.OpenFile(name, os.O_RDONLY, 0); {
		case err == nil:
			size, err := f.Size()
			files = append(files, backupFile{name: logDir + "/" + name, size: size, f: f, whole: true})
			if err != nil {
				return files, err
			}
		case !errors.Is(err, fs.ErrNotExist):
			return files, err
		}
	}
	// The keys of what is in these segments are there by now.
	for _, name := range besideFiles() {
		if err := read(name, maxBeside); err != nil {
			return files, err
		}
	}
	for _, name := range []string{copyName, metaName} {
		if err := read(name, maxMeta); err != nil {
			return files, err
		}
	}
	return files, nil
}

// Restore makes a data directory of what Backup wrote, in dir, which is missing
// or empty. After an error it is as it was. Nothing else than files of a backup
// is taken.
func Restore(ctx context.Context, dir string, r io.Reader) error {
	err := fillDirectory(dir, func(top, segs vfs.FS) error { return restore(ctx, tar.NewReader(r), top, segs) })
	if err != nil {
		return fmt.Errorf("restore store: %w", err)
	}
	return nil
}

var (
	besideName  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)
	segmentName = regexp.MustCompile(`^[0-9a-f]{16}\.(seg|idx)$`)
	errTar      = errors.New("not a backup, or not all of one")
)

func restore(ctx context.Context, tr *tar.Reader, top, segs vfs.FS) error {
	seen, last := map[string]bool{}, ""
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errTar, err)
		}
		d, name := top, h.Name
		if in, base := path.Split(h.Name); in == logDir+"/" && segmentName.MatchString(base) {
			d, name = segs, base
		} else if !besideName.MatchString(name) || name == lockName || name == logDir || name == indexDir {
			return fmt.Errorf("%w: %q in it", errTar, h.Name)
		}
		if h.Typeflag != tar.TypeReg || seen[h.Name] {
			return fmt.Errorf("%w: %q is in it as something else than one file", errTar, h.Name)
		}
		// Holes are read as zeros, of which a few bytes can say any number.
		for k := range h.PAXRecords {
			if strings.HasPrefix(k, "GNU.sparse.") {
				return fmt.Errorf("%w: %q is in it as a file with holes", errTar, h.Name)
			}
		}
		seen[h.Name], last = true, h.Name
		if err := writeFile(d, name, &watched{ctx: ctx, r: tr, done: new(store.Progress)}); err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
	}
	if last != metaName {
		return fmt.Errorf("%w: it does not end with %s", errTar, metaName)
	}
	b, err := atomicfile.Read(top, metaName, maxMeta)
	if err == nil {
		_, err = decodeMeta(b)
	}
	return err
}

// restoringSuffix is behind the name of a directory that is being filled.
const restoringSuffix = ".partial"

// fillDirectory makes dir, which is missing or empty, with what fill puts into
// it and its seg, all or nothing.
func fillDirectory(dir string, fill func(top, segs vfs.FS) error) (err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return err
	}
	switch names, err := os.ReadDir(dir); {
	case err == nil && len(names) > 0:
		return fmt.Errorf("%s is not empty", dir)
	case err == nil:
		// It is replaced: a link by what it points to, so that everything
		// stays on that file system; a mount point cannot be, and who is told
		// so at the end has waited for nothing.
		if dir, err = filepath.EvalSymlinks(dir); err != nil {
			return err
		}
		if mounted, err := mountPoint(dir); err != nil {
			return err
		} else if mounted {
			return fmt.Errorf("%s is where a file system is mounted; name a directory in it that is missing or empty", dir)
		}
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	partial := dir + restoringSuffix
	if err := os.RemoveAll(partial); err != nil { // of one that was broken off
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(partial))
		}
	}()
	if err := fillPartial(partial, fill); err != nil {
		return err
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(partial, dir); err != nil {
		return err
	}
	parent, err := vfs.Dir(filepath.Dir(dir))
	if err != nil {
		return err
	}
	return errors.Join(parent.SyncDir(), parent.Close())
}

// mountPoint reports whether a directory is the root of another file system
// than the one that holds its name.
func mountPoint(dir string) (bool, error) {
	var in, above syscall.Stat_t
	if err := syscall.Stat(dir, &in); err != nil {
		return false, &fs.PathError{Op: "stat", Path: dir, Err: err}
	}
	if err := syscall.Stat(filepath.Dir(dir), &above); err != nil {
		return false, &fs.PathError{Op: "stat", Path: filepath.Dir(dir), Err: err}
	}
	return in.Dev != above.Dev || in.Ino == above.Ino, nil
}

func fillPartial(partial string, fill func(top, segs vfs.FS) error) (err error) {
	top, err := vfs.Dir(partial)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, top.Close()) }()
	segs, err := top.Sub(logDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, segs.Close()) }()
	if err := fill(top, segs); err != nil {
		return err
	}
	return errors.Join(segs.SyncDir(), top.SyncDir())
}

// writeFile makes a file that was not there, and what is in it durable.
func writeFile(d vfs.FS, name string, content io.Reader) (err error) {
	f, err := d.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := io.Copy(&sequential{f: f}, content); err != nil {
		return err
	}
	return f.Sync()
}

// sequential writes one after another.
type sequential struct {
	f  vfs.File
	at int64
}

func (w *sequential) Write(b []byte) (int, error) {
	n, err := w.f.WriteAt(b, w.at)
	w.at += int64(n)
	return n, err
}
