package control_test

import (
	"path/filepath"
	"testing"

	"github.com/weir-capture/weir/analyzer/control"
)

func TestOpen(t *testing.T) {
	s, err := control.Open(t.Context(), filepath.Join(t.TempDir(), "control.db"), control.Options{})
	if err != nil {
		t.Fatal(err)
	}
	tok, _, err := s.SetupToken(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ses, _, err := s.UseSetup(t.Context(), tok, "ann", "correct horse battery")
	if err != nil {
		t.Fatal(err)
	}
	t.Log(s.SessionIdentity(t.Context(), ses.Token))
	_, sec, err := s.CreateKey(t.Context(), control.NewKey{Name: "f", Kind: control.KeyForwarder})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(s.KeyIdentity(t.Context(), sec))
	t.Log(s.Audit(t.Context(), control.Event{Action: "x"}))
	t.Log(s.VerifyAudit(t.Context()))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
