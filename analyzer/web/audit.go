package web

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weir-capture/weir/analyzer/control"
	httpv1 "github.com/weir-capture/weir/api/http/v1"
)

type auditInput struct {
	Limit  string `query:"limit"`
	Cursor string `query:"cursor"`
	Action string `query:"action"`
	Actor  string `query:"actor"`
}

// auditLog mounts what admins read of who did what.
func (s *Server) auditLog(api huma.API) {
	problems := []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusNotImplemented, http.StatusServiceUnavailable}
	huma.Register(api, operation(api, "list-audit", "/api/v1/audit", "Who did what, newest first",
		"Sign-ins, content that was read, exports, changes of users, keys and rules, deletions; never what was captured.",
		[]*huma.Param{
			countParam("limit", "Events on a page.", httpv1.DefaultPage, httpv1.MaxPage),
			param("query", "cursor", "next_cursor of the page before.", huma.TypeString),
			param("query", "action", "Only this action.", huma.TypeString),
			param("query", "actor", "Only what this user or key did.", huma.TypeString),
		}, problems...), s.listAudit)
	huma.Register(api, operation(api, "verify-audit", "/api/v1/audit/verify", "Is the audit log as it was written",
		"Reads all of it: each event holds the hash of the one before.", nil, problems...),
		func(ctx context.Context, _ *noInput) (*output[httpv1.AuditCheck], error) {
			c, err := s.control()
			if err != nil {
				return nil, err
			}
			r, err := c.VerifyAudit(ctx)
			if err != nil {
				return nil, s.refuse(ctx, err, "event")
			}
			return &output[httpv1.AuditCheck]{httpv1.AuditCheck{
				Intact: r.Intact, Events: uint64(max(r.Events, 0)), Problem: text(r.Problem), At: uint64(max(r.At, 0)), Head: r.Head, Anchored: r.Anchored,
			}}, nil
		})
}

func (s *Server) listAudit(ctx context.Context, in *auditInput) (*output[httpv1.Audit], error) {
	c, err := s.control()
	if err != nil {
		return nil, err
	}
	page := control.AuditPage{Cursor: in.Cursor, Action: in.Action, Actor: in.Actor}
	if page.Limit, err = parseCount("limit", in.Limit, httpv1.DefaultPage, httpv1.MaxPage); err != nil {
		return nil, err
	}
	events, next, err := c.ListAudit(ctx, page)
	if err != nil {
		return nil, s.refuse(ctx, err, "event")
	}
	out := httpv1.Audit{Events: make([]httpv1.AuditEvent, 0, len(events))}
	if next != "" {
		out.NextCursor = &next
	}
	for _, e := range events {
		out.Events = append(out.Events, httpv1.AuditEvent{
			Seq: uint64(max(e.Seq, 0)), Time: e.Time.UTC(), Kind: e.ActorKind, Name: text(e.ActorName), Action: text(e.Action),
			Target: text(e.Target), Detail: text(e.Detail), From: text(e.From), Result: string(e.Result), Hash: e.Hash,
		})
	}
	return &output[httpv1.Audit]{out}, nil
}
