package pair

import (
	"slices"
	"time"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// slow is what a pair takes that sampling never leaves out.
const slow = int64(time.Second)

// remarkable pairs are kept whatever their connection's sampling says: those
// that failed and those that took long.
func remarkable(p *capturev1.RRPair) bool {
	t := p.GetTiming()
	end := max(t.GetRequestLast(), t.GetResponseFirst(), t.GetResponseLast())
	return p.GetError() != "" || p.GetStatus() >= 500 || end-t.GetRequestFirst() >= slow ||
		slices.ContainsFunc(p.GetFlags(), func(f capturev1.Flag) bool {
			return f == capturev1.Flag_FLAG_NO_RESPONSE || f == capturev1.Flag_FLAG_INCOMPLETE
		})
}

// emit hands a pair on, or leaves it out if it is ordinary and its connection
// is not one of those that are kept. An ordinary pair that is kept stands for
// those of the connections that are not.
func (p *Pairer) emit(link *Link, rr *capturev1.RRPair, rest [2][][]byte, held int64, ordinary bool) {
	if ordinary && link.KeepOneIn > 1 {
		if link.Sampled {
			p.set.Ledger.Sampled()
			p.set.Budget.Give(held)
			return
		}
		rr.SampleWeight = link.KeepOneIn
	}
	p.set.Emit(rr, rest, held)
}
