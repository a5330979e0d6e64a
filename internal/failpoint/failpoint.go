// Package failpoint names the places where a fault hurts most, so that a test
// can make one happen exactly there. Programs that are built with the tag
// failpoints read FAILPOINTS from their environment; in all others Hit is an
// empty function that the compiler removes.
//
// FAILPOINTS is a list of name=action@count, divided by ";": the action
// happens when the place is reached for the count-th time, once. Actions:
//
//	kill   the process ends as by kill -9
//	error  Hit returns ErrInjected; a place that cannot fail ignores it
//	hang   the goroutine waits for ever
package failpoint

import "errors"

// Places. Each stands right behind what it is named after.
const (
	SpoolAfterWrite       = "spool.after_write"        // records are written, not synced
	SpoolAfterFsync       = "spool.after_fsync"        // records are durable, nobody knows yet
	SpoolAfterAck         = "spool.after_ack"          // a proxy was told that its batch is safe
	SpoolAfterCursorFsync = "spool.after_cursor_fsync" // a cursor is durable, its segments still there
	SpoolAfterUnlink      = "spool.after_unlink"       // a segment is removed, the directory not synced
	StoreAfterSegment     = "store.after_segment"      // frames are durable in the store, not acknowledged
	StoreAfterIndexRename = "store.after_index_rename" // an index that was made anew has its name
	StoreMidCompaction    = "store.mid_compaction"     // retention has removed a segment, not its rows
	DeletionBeforeSwap    = "deletion.before_swap"     // a segment is written anew, the old one still there
	DeletionAfterSwap     = "deletion.after_swap"      // a segment that was written anew has its name
	DeletionBegun         = "deletion.begun"           // a deletion is in its journal, nothing is deleted
	DeletionRows          = "deletion.rows"            // pairs are deleted from the log, not from the index
)

// Names lists the places.
func Names() []string {
	return []string{
		SpoolAfterWrite, SpoolAfterFsync, SpoolAfterAck, SpoolAfterCursorFsync, SpoolAfterUnlink,
		StoreAfterSegment, StoreAfterIndexRename, StoreMidCompaction,
		DeletionBegun, DeletionBeforeSwap, DeletionAfterSwap, DeletionRows,
	}
}

// ErrInjected is what the action error gives.
var ErrInjected = errors.New("injected fault")
