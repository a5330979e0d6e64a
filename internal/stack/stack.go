// Package stack gives a goroutine the stack that it will need while it has
// nothing on it yet. The runtime starts with 2 KiB and doubles, and each time
// it copies what is there and adjusts every pointer into it: for a goroutine
// that lives as long as a short connection, and calls deep, that was a tenth of
// all that the connection cost.
package stack

// Grow makes the stack of the calling goroutine at least 8 KiB; it is for the
// first call that a goroutine makes. The collector halves stacks of which less
// than a quarter is in use, so one that rests does not keep it.
//
//go:noinline
func Grow() {
	var room [4 << 10]byte // the runtime makes room for a function's whole frame
	touch(&room)
}

//go:noinline
func touch(room *[4 << 10]byte) { room[0] = 1 }
