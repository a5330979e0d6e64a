package web

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weir-capture/weir/analyzer/control"
	httpv1 "github.com/weir-capture/weir/api/http/v1"
)

type (
	newUserInput struct{ Sent sent[httpv1.NewUser] }
	userInput    struct {
		Name string `path:"name"`
	}
	changeUserInput struct {
		Name string `path:"name"`
		Sent sent[httpv1.UserChange]
	}
)

const usersPath = "/api/v1/users"

// users mounts what admins do with users.
func (s *Server) users(api huma.API) {
	name := []*huma.Param{param("path", "name", "The user's name.", huma.TypeString)}
	huma.Register(api, operation(api, "list-users", usersPath, "Everybody who may sign in", "", nil,
		http.StatusUnauthorized, http.StatusNotImplemented, http.StatusServiceUnavailable),
		func(ctx context.Context, _ *noInput) (*output[httpv1.Users], error) {
			c, err := s.control()
			if err != nil {
				return nil, err
			}
			all, err := c.ListUsers(ctx)
			if err != nil {
				return nil, s.refuse(ctx, err, "user")
			}
			out := httpv1.Users{Users: make([]httpv1.User, 0, len(all))}
			for _, u := range all {
				out.Users = append(out.Users, userDocument(u))
			}
			return &output[httpv1.Users]{out}, nil
		})
	op := change(api, http.MethodPost, "create-user", usersPath, "Make a user", "", nil, httpv1.NewUser{}, http.StatusConflict)
	op.DefaultStatus = http.StatusCreated
	huma.Register(api, op, func(ctx context.Context, in *newUserInput) (*output[httpv1.User], error) {
		c, err := s.control()
		if err != nil {
			return nil, err
		}
		if in.Sent.err != nil {
			return nil, in.Sent.err
		}
		doc := in.Sent.doc
		note(ctx, doc.Name, "role "+doc.Role+scopeNote(doc.Scope))
		u, err := c.CreateUser(ctx, control.NewUser{Name: doc.Name, Password: doc.Password, Role: control.Role(doc.Role), Scope: scopeOf(doc.Scope)})
		if err != nil {
			return nil, s.refuse(ctx, err, "user")
		}
		return &output[httpv1.User]{userDocument(u)}, nil
	})
	huma.Register(api, change(api, http.MethodPatch, "change-user", usersPath+"/{name}", "Change a user",
		"Ends the user's sessions. The last admin stays one.", name, httpv1.UserChange{}, http.StatusNotFound, http.StatusConflict), s.changeUser)
	del := change(api, http.MethodDelete, "delete-user", usersPath+"/{name}", "Delete a user", "Ends the user's sessions. The last admin stays.", name, nil, http.StatusNotFound, http.StatusConflict)
	del.DefaultStatus = http.StatusNoContent
	huma.Register(api, del, func(ctx context.Context, in *userInput) (*noInput, error) {
		note(ctx, in.Name, "")
		c, err := s.control()
		if err != nil {
			return nil, err
		}
		if err := c.DeleteUser(ctx, in.Name); err != nil {
			return nil, s.refuse(ctx, err, "user")
		}
		return nil, nil
	})
}

func (s *Server) changeUser(ctx context.Context, in *changeUserInput) (*output[httpv1.User], error) {
	c, err := s.control()
	if err != nil {
		return nil, err
	}
	if in.Sent.err != nil {
		return nil, in.Sent.err
	}
	doc, what := in.Sent.doc, ""
	var to control.UserChange
	if doc.Role != nil {
		role := control.Role(*doc.Role)
		to.Role, what = &role, what+" role "+*doc.Role
	}
	if doc.Scope != nil {
		scope := scopeOf(doc.Scope)
		to.Scope, what = &scope, what+scopeNote(doc.Scope)
	}
	if doc.Disabled != nil {
		to.Disabled = doc.Disabled
		if *doc.Disabled {
			what += " disabled"
		} else {
			what += " enabled"
		}
	}
	if doc.Password != nil {
		to.Password, what = doc.Password, what+" new password"
	}
	if what == "" {
		return nil, badParam("Nothing is to change; want some of role, scope, disabled and password.")
	}
	note(ctx, in.Name, what[1:])
	u, err := c.SetUser(ctx, in.Name, to)
	if err != nil {
		return nil, s.refuse(ctx, err, "user")
	}
	return &output[httpv1.User]{userDocument(u)}, nil
}

func userDocument(u control.User) httpv1.User {
	return httpv1.User{
		Name: text(u.Name), Role: string(u.Role), Scope: scopeDocument(u.Scope), Disabled: u.Disabled, External: u.External,
		CreatedAt: u.CreatedAt.UTC(), LastSignInAt: utcOrNil(u.LastSignInAt),
	}
}
