package doctor

import (
	httpv1 "github.com/weir-capture/weir/api/http/v1"
)

// Doors is what an analyzer knows of who may come in, and of what lies open.
// Whatever is empty was not said.
type Doors struct {
	// Auth and Encryption (of what is stored) are "on" or "off".
	Auth, Encryption string
	// IdentityProvider names the one that people sign in with, and
	// IdentityProviderProblem is why they cannot now; both may be empty.
	IdentityProvider, IdentityProviderProblem string
}

// doors are the checks of an analyzer's doors. What a user chose is to be
// known, not to be mended.
func (in *Installation) doors() []httpv1.DoctorCheck {
	d := &in.Analyzer.Doors
	var out []httpv1.DoctorCheck
	switch d.Auth {
	case "on":
		out = append(out, good("analyzer.auth", "", "On: who asks has to sign in or to show a key."))
	case "off":
		out = append(out, check("analyzer.auth", "", Skipped, "Off: everybody on the analyzer's machine reads everything.", Cause{
			"AUTH=off is set there, as weir demo does. It is taken on loopback only.",
			"Where others use that machine, unset AUTH; weir user link prints a link that makes the first user.",
		}))
	}
	if d.IdentityProvider != "" {
		if d.IdentityProviderProblem != "" {
			out = append(out, check("analyzer.oidc", d.IdentityProvider, Warning, sentence(d.IdentityProviderProblem), Cause{
				"The provider is away, cannot be reached from there, or does not describe itself as OpenID Connect Discovery has it.",
				"Open OIDC_ISSUER with /.well-known/openid-configuration behind it from the analyzer's machine. Passwords and keys work meanwhile, and it is asked again.",
			}))
		} else {
			out = append(out, good("analyzer.oidc", d.IdentityProvider, "It answers."))
		}
	}
	switch d.Encryption {
	case "on":
		out = append(out, good("analyzer.encryption", "", "On."))
	case "off":
		out = append(out, check("analyzer.encryption", "", Skipped, "Off: what is stored is as safe as the disk that it is on.", Cause{
			"ENCRYPTION_KEY is not set there.",
			"Where the disk is not encrypted, or others may read its backups, give the analyzer ENCRYPTION_KEY_FILE. Pairs that are stored already stay as they are.",
		}))
	}
	return out
}
