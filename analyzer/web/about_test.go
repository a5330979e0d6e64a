package web

import (
	"testing"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// TestRedactionOfForwarders: the viewer warns as long as one of them stores
// what it got.
func TestRedactionOfForwarders(t *testing.T) {
	with := Forwarder{Status: &capturev1.ForwarderStatus{DlpConfig: "standard"}}
	without := Forwarder{Status: new(capturev1.ForwarderStatus)}
	for want, known := range map[string][]Forwarder{
		"off": {without, without}, "on": {with, with}, "partly": {without, with},
	} {
		if got := redaction(known); got != want {
			t.Errorf("%v: %s, want %s", known, got, want)
		}
	}
	if got := redaction(nil); got != "off" {
		t.Errorf("nobody known: %s", got)
	}
}
