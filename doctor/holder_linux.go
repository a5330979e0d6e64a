package doctor

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// holder is who listens on a port.
type holder struct {
	pid  int
	name string
}

// holderOf finds who listens on a TCP port, as far as this user may see:
// sockets that listen are in /proc/net/tcp and tcp6 (proc(5)) with their
// inode, and each open one is a link in its process's fd directory.
func holderOf(port string) (holder, bool) {
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return holder{}, false
	}
	inodes := map[string]bool{}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		listening(table, fmt.Sprintf(":%04X", n), inodes)
	}
	if len(inodes) == 0 {
		return holder{}, false
	}
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return holder{}, false
	}
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil {
			continue // gone, or another user's
		}
		inode, ok := strings.CutPrefix(target, "socket:[")
		if !ok || !inodes[strings.TrimSuffix(inode, "]")] {
			continue
		}
		dir := filepath.Dir(filepath.Dir(link))
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		name, err := os.ReadFile(filepath.Join(dir, "comm"))
		if err != nil {
			continue
		}
		return holder{pid, strings.TrimSpace(string(name))}, true
	}
	return holder{}, false
}

// listening adds the inodes of sockets that listen on a port (":1F90").
func listening(table, port string, inodes map[string]bool) {
	f, err := os.Open(table)
	if err != nil {
		return // no such family here
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		// sl local_address rem_address st … inode; 0A is LISTEN.
		fields := strings.Fields(lines.Text())
		if len(fields) > 9 && strings.HasSuffix(fields[1], port) && fields[3] == "0A" {
			inodes[fields[9]] = true
		}
	}
}
