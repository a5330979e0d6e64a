package web

import (
	"context"
	"time"

	"github.com/weir-capture/weir/analyzer/ledger"
	httpv1 "github.com/weir-capture/weir/api/http/v1"
	"github.com/weir-capture/weir/doctor"
	"github.com/weir-capture/weir/protocol/protocols"
)

// doctor looks at everything that is known here.
func (s *Server) doctor(ctx context.Context) httpv1.Doctor {
	now := s.cfg.Now()
	known := proxies(s.forwarders())
	in := doctor.Installation{
		Now: now, Forwarders: known.Forwarders, Proxies: known.Proxies, Protocol: protocolAdvice,
	}
	if s.deps.Health != nil {
		in.Analyzer = s.deps.Health()
	}
	in.Analyzer.NotReady = append(in.Analyzer.NotReady, s.notReady(ctx)...)
	if s.deps.Ledger != nil {
		from, to := now.Add(-time.Hour).UnixNano(), now.UnixNano()+1
		l := ledgerDocument(s.deps.Ledger.Report(ledger.Ask{From: from, To: to}), from, to)
		in.Ledger = &l
	}
	return doctor.Report(now, doctor.Examine(in))
}

// protocolAdvice is how people call a protocol, and what it means for them
// where it is not read.
func protocolAdvice(name string) (title, advice string) {
	p, ok := protocols.ByName(name)
	if !ok {
		return name, "" // of a newer proxy, which may read it
	}
	if p.New != nil {
		return p.Title, ""
	}
	return p.Title, p.Advice
}
