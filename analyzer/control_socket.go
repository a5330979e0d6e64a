package analyzer

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"github.com/weir-capture/weir/internal/statedir"
)

// listenControl serves the API to programs of this user, without a port. Who
// may open the socket may read the files beside it anyway.
func listenControl(dataDir string) (net.Listener, error) {
	name := filepath.Join(dataDir, statedir.ControlSocket)
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove old socket: %w", err)
	}
	l, err := net.Listen("unix", name)
	if err != nil {
		// The path of a socket has room for some hundred bytes.
		return nil, fmt.Errorf("listen on socket: %w", err)
	}
	if err := os.Chmod(name, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("close socket to others: %w", err), l.Close())
	}
	return l, nil
}
