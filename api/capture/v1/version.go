package capturev1

import "fmt"

// The version of what programs say to each other. It grows when a peer has to
// know of a change; fields that may be ignored need no new one. Release N
// understands N-1 in both directions, so that programs can be replaced one by
// one.
const (
	// APIVersion is what this program speaks. 0 is what programs spoke before
	// they said a version: whole spools in order, no declared losses.
	APIVersion uint32 = 1
	// APIOldest is the oldest that it understands.
	APIOldest uint32 = 0
)

// CheckVersions says whether a peer that speaks version and understands oldest
// and this program can work together; the error names both, and which of them
// is too old.
func CheckVersions(peer string, version, oldest uint32) error {
	switch {
	case version < APIOldest:
		return fmt.Errorf("the %s speaks version %d, this program needs %d at least: bring the %s up to date", peer, version, APIOldest, peer)
	case oldest > APIVersion:
		return fmt.Errorf("the %s needs version %d at least, this program speaks %d: bring this program up to date", peer, oldest, APIVersion)
	}
	return nil
}

// MissingDeclared is the word in Frame.missing for a stretch that was removed
// after everything in it had been declared lost: a hole that is not explained
// by that is no damage of the spool.
const MissingDeclared = "declared"
