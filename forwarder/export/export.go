// Package export hands what is in the spool on to destinations. Each has a
// cursor of its own and goes its own way: one that is down holds up neither
// the others nor receiving.
package export

import (
	"context"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// Exporter is one destination.
type Exporter interface {
	// Name is the destination's, and its cursor's in the spool.
	Name() string
	// Run exports until ctx ends; it never gives up before. When drain is
	// closed nothing new will be spooled: Run returns as soon as everything
	// was taken, or when there is nobody to take it. It returns nil in all
	// these cases; an error means that it cannot go on at all.
	Run(ctx context.Context, drain <-chan struct{}) error
	// State says how far it is. The result is the caller's. It may be called
	// at any time, by any goroutine.
	State() *capturev1.DestinationState
}
