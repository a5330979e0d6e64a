package ingest

import (
	"sync"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// answers is what is to be said on a stream: a greeting, then the newest
// acknowledgement, which stands for all before it. Nobody who adds one waits
// for the peer to read it.
type answers struct {
	mu      sync.Mutex
	next    *capturev1.ExportResponse // nil: nothing to say
	ack     *capturev1.ExportResponse_Ack
	closed  bool
	changed chan struct{} // has room for one
}

func newAnswers(greeting *capturev1.ExportResponse) *answers {
	return &answers{next: greeting, changed: make(chan struct{}, 1)}
}

// acknowledge replaces an acknowledgement that was not sent yet.
func (a *answers) acknowledge(ack *capturev1.ExportResponse_Ack) {
	a.mu.Lock()
	a.ack = ack
	a.mu.Unlock()
	signal(a.changed)
}

// close says that there is nothing more to say.
func (a *answers) close() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	signal(a.changed)
}

// sender is the sending half of a stream.
type sender interface {
	Send(*capturev1.ExportResponse) error
}

// send says what there is to say until that was all (see close), or the stream
// breaks. It is the only one to send.
func (a *answers) send(g sender) error {
	for {
		a.mu.Lock()
		r, closed := a.next, a.closed
		a.next = nil
		if r == nil && a.ack != nil {
			r = &capturev1.ExportResponse{Kind: &capturev1.ExportResponse_Stored{Stored: a.ack}}
			a.ack = nil
		}
		a.mu.Unlock()
		switch {
		case r != nil:
			if err := g.Send(r); err != nil {
				return err
			}
		case closed:
			return nil
		default:
			<-a.changed
		}
	}
}
