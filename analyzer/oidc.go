package analyzer

import (
	"log/slog"

	"github.com/weir-capture/weir/analyzer/oidc"
	"github.com/weir-capture/weir/analyzer/web"
)

// openOIDC makes a client of the identity provider; nil without one.
func openOIDC(cfg Config, log *slog.Logger) *oidc.Provider {
	if cfg.OIDC.Issuer == "" || cfg.NoAuth {
		return nil
	}
	return oidc.New(cfg.OIDC, log)
}

// doors is what the doctor says of who may come in and of what lies open.
func (a *Analyzer) doors() web.Doors {
	d := web.Doors{Auth: "on", Encryption: "off"}
	if a.cfg.NoAuth {
		d.Auth = "off"
	}
	if a.cfg.Master != nil {
		d.Encryption = "on"
	}
	if a.oidc != nil {
		d.IdentityProvider = a.oidc.Issuer()
		if err := a.oidc.Err(); err != nil {
			d.IdentityProviderProblem = err.Error()
		}
	}
	return d
}
