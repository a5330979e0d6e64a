package web

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weir-capture/weir/analyzer/control"
	httpv1 "github.com/weir-capture/weir/api/http/v1"
)

const viewsPath = "/api/v1/views"

type (
	saveViewInput struct{ Sent sent[httpv1.SavedView] }
	viewInput     struct {
		Name string `path:"name"`
	}
)

// views mounts what people save of the viewer.
func (s *Server) views(api huma.API) {
	huma.Register(api, operation(api, "list-views", viewsPath, "Views that the caller saved", "", nil,
		http.StatusUnauthorized, http.StatusNotImplemented, http.StatusServiceUnavailable),
		func(ctx context.Context, _ *noInput) (*output[httpv1.Views], error) {
			c, err := s.control()
			if err != nil {
				return nil, err
			}
			all, err := c.ListViews(ctx, owner(ctx))
			if err != nil {
				return nil, s.refuse(ctx, err, "view")
			}
			out := httpv1.Views{Views: make([]httpv1.View, 0, len(all))}
			for _, v := range all {
				out.Views = append(out.Views, viewDocument(v))
			}
			return &output[httpv1.Views]{out}, nil
		})
	huma.Register(api, change(api, http.MethodPut, "save-view", viewsPath, "Save a view", "Replaces one of the same name.", nil, httpv1.SavedView{}),
		func(ctx context.Context, in *saveViewInput) (*output[httpv1.View], error) {
			c, err := s.control()
			if err != nil {
				return nil, err
			}
			if in.Sent.err != nil {
				return nil, in.Sent.err
			}
			v, err := c.SaveView(ctx, control.View{Name: in.Sent.doc.Name, Owner: owner(ctx), Document: in.Sent.doc.Document})
			if err != nil {
				return nil, s.refuse(ctx, err, "view")
			}
			return &output[httpv1.View]{viewDocument(v)}, nil
		})
	del := change(api, http.MethodDelete, "delete-view", viewsPath+"/{name}", "Delete a view", "",
		[]*huma.Param{param("path", "name", "The view's name.", huma.TypeString)}, nil, http.StatusNotFound)
	del.DefaultStatus = http.StatusNoContent
	huma.Register(api, del, func(ctx context.Context, in *viewInput) (*noInput, error) {
		c, err := s.control()
		if err != nil {
			return nil, err
		}
		if err := c.DeleteView(ctx, owner(ctx), in.Name); err != nil {
			return nil, s.refuse(ctx, err, "view")
		}
		return nil, nil
	})
}

// owner is whose views a caller's are.
func owner(ctx context.Context) string {
	who := caller(ctx)
	return who.Kind + ":" + who.ID
}

func viewDocument(v control.View) httpv1.View {
	return httpv1.View{Name: text(v.Name), UpdatedAt: v.UpdatedAt.UTC(), Document: v.Document}
}
