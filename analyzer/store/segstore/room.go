package segstore

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/internal/ballast"
)

// disk is what the store does about a disk that is full. What the ballast gives
// up is for the index, for retention and for the next start: nothing new is
// taken until there is room enough for the ballast, and more.
type disk struct {
	mu sync.Mutex
	// ballast is nil when there is none.
	ballast *ballast.Ballast
	// made: its file is there.
	made bool
	// needs is how much has to be free before the ballast is made again.
	needs int64
}

const (
	// scarce is as much as opening an index may take, in bytes.
	scarce = 8 << 20
	// ballastShare is the part of the disk that the ballast takes at most.
	ballastShare = 16
)

// openBallast takes note of the file, if it is there. Making it takes a moment,
// which the start does not have.
func (s *Store) openBallast(elsewhere bool) error {
	if elsewhere || s.opt.Ballast < 0 {
		return nil
	}
	free, err := s.dir.fsys.Free()
	if err != nil {
		return fmt.Errorf("read free space: %w", err)
	}
	// What the disk has room for, but for what is others'.
	want := min(s.opt.Ballast, (free+s.seglog.Bytes()+indexBytes(s.opt.Dir))/ballastShare)
	s.disk.ballast = ballast.New(s.dir.fsys, s.opt.Now, want)
	s.disk.needs = want + want/2
	_, err = os.Stat(filepath.Join(s.opt.Dir, ballast.Name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	s.disk.made = true
	return s.disk.ballast.Open()
}

// makeBallast makes the file when it was not there.
func (s *Store) makeBallast() {
	d := &s.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ballast == nil || d.made {
		return
	}
	d.made = true
	if err := d.ballast.Open(); err != nil {
		s.log.Warn("Could not make the ballast; a full disk leaves nothing to give up", slog.String("error", err.Error()))
	}
}

// Writable is nil when frames are taken, and store.ErrFull while the disk has
// no room for them. It looks whether there is some again.
func (s *Store) Writable() error {
	d := &s.disk
	if d.ballast == nil || !d.ballast.Short() {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.ballast.Released() {
		return nil // there never was room for it
	}
	free, err := s.dir.fsys.Free()
	if err != nil {
		return fmt.Errorf("read free space: %w", err)
	}
	if free >= d.needs && d.ballast.Fill() {
		s.log.Info("There is room on the disk again; taking frames")
		return nil
	}
	return fmt.Errorf("%w: %s are free, %s are needed", store.ErrFull, size(free), size(d.needs))
}

// giveRoom gives the ballast up, for a disk that is full.
func (s *Store) giveRoom() {
	d := &s.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ballast != nil && d.made && d.ballast.Release() {
		s.log.Warn("The disk is full: what is stored can be read, nothing new is taken until there is room")
	}
}

// giveRoomWhenScarce does it before something that the disk may have no room
// for.
func (s *Store) giveRoomWhenScarce() {
	if free, err := s.dir.fsys.Free(); err == nil && free < scarce {
		s.giveRoom()
	}
}

// indexBytes is what the index takes on the disk; 0 where that cannot be told.
func indexBytes(dir string) (n int64) {
	entries, err := os.ReadDir(filepath.Join(dir, indexDir))
	if err != nil {
		return 0
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && !e.IsDir() {
			n += info.Size()
		}
	}
	return n
}

// bytes is what log, files beside it, and index take on the disk.
func (s *Store) bytes() int64 {
	return s.seglog.Bytes() + s.sidecars.bytes() + indexBytes(s.opt.Dir)
}
