// Package doctor knows what can be wrong with Weir, why that is, and what to
// do about it, in words that are the same in the viewer and on the command
// line. It looks at documents of the API and at facts that it is given; what
// it finds out itself, about this machine, is in local.go.
package doctor

import (
	"time"

	httpv1 "github.com/weir-capture/weir/api/http/v1"
)

// What a check can come to.
const (
	OK      = "ok"
	Warning = "warning"
	Failure = "failure"
	Skipped = "skipped"
)

// Analyzer is what an analyzer knows of itself.
type Analyzer struct {
	DataDir string
	// DiskFree and DiskTotal are of the file system under DataDir, in bytes;
	// both 0 where that is not known.
	DiskFree, DiskTotal uint64
	// NotReady are the reasons why it cannot answer or take pairs in.
	NotReady []string
	// IndexBacklog is how many pairs are stored and not indexed.
	IndexBacklog int
	// Unreadable and Damaged are frames and records that were stored and
	// cannot be read.
	Unreadable, Damaged uint64
}

// Report puts checks together.
func Report(now time.Time, checks []httpv1.DoctorCheck) httpv1.Doctor {
	out := httpv1.Doctor{Time: now.UTC(), Status: OK, Checks: append([]httpv1.DoctorCheck{}, checks...)}
	for _, c := range out.Checks {
		if c.Status == Failure || c.Status == Warning && out.Status == OK {
			out.Status = c.Status
		}
	}
	return out
}
