package web

import (
	"context"

	httpv1 "github.com/weir-capture/weir/api/http/v1"
)

func (s *Server) why(ctx context.Context, in *whyInput) (*output[httpv1.Why], error) {
	return nil, noLedger()
}
