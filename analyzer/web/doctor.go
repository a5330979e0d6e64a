package web

import (
	"context"

	httpv1 "github.com/weir-capture/weir/api/http/v1"
	"github.com/weir-capture/weir/doctor"
)

// doctor looks at everything that is known here.
func (s *Server) doctor(ctx context.Context) httpv1.Doctor {
	return doctor.Report(s.cfg.Now(), nil)
}
