package stack

import (
	"testing"
)

// deep uses about 5 KiB of stack.
//
//go:noinline
func deep(n int) int {
	var frame [64]byte
	frame[n%64] = byte(n)
	if n == 0 {
		return int(frame[0])
	}
	return deep(n-1) + int(frame[n%64])
}

// BenchmarkGoroutine is one that lives for a short deep call.
func BenchmarkGoroutine(b *testing.B) {
	for _, grown := range []bool{false, true} {
		name := "as it comes"
		if grown {
			name = "grown first"
		}
		b.Run(name, func(b *testing.B) {
			done := make(chan int)
			for range b.N {
				go func() {
					if grown {
						Grow()
					}
					done <- deep(48)
				}()
				<-done
			}
		})
	}
}

// TestGrow: it returns with the stack intact.
func TestGrow(t *testing.T) {
	done := make(chan int)
	go func() {
		local := 7
		p := &local
		Grow()
		done <- *p + deep(48) - deep(48)
	}()
	if got := <-done; got != 7 {
		t.Error(got)
	}
}
