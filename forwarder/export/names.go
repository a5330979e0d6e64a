package export

import (
	"fmt"
	"strconv"
	"strings"
)

// MarkName is the file beside a destination's that says how far it is.
func MarkName(path string) string { return path + ".mark" }

// LockName is the file that keeps a second writer away.
func LockName(path string) string { return path + ".lock" }

// RotatedName is that of the n-th file that was rotated: the higher, the newer.
func RotatedName(path string, n uint64) string { return fmt.Sprintf("%s.%06d", path, n) }

// RotatedNumber is the n of a RotatedName of path; false for all other names.
func RotatedNumber(path, name string) (uint64, bool) {
	digits, ok := strings.CutPrefix(name, path+".")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil && RotatedName(path, n) == name
}

// keepsBeside says whether a destination with the file path keeps something
// under another name. A mark that is being made has a name of its own.
func keepsBeside(path, name string) bool {
	_, rotated := RotatedNumber(path, name)
	return rotated || name == MarkName(path) || name == MarkName(path)+".tmp" || name == LockName(path)
}
