// Package doors has the real programs shut out those who have no business with
// them, and let in those who have, through renewed certificates and revoked
// tokens.
package doors
