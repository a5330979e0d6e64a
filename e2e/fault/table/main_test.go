package main

import (
	"io"
	"strings"
	"testing"

	"github.com/weir-capture/weir/internal/faultreport"
)

func TestRun(t *testing.T) {
	good := faultreport.Line{Fault: "R13 kill", Generated: 2, Stored: 2}
	var out strings.Builder
	if err := run(strings.NewReader("=== RUN\n    x_test.go:1: "+good.String()+"\nok\n"), &out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "=== RUN") || !strings.Contains(out.String(), "| R13 kill | 2 ") {
		t.Errorf("printed:\n%s", out.String())
	}
	bad := good
	bad.Twice = 1
	for name, in := range map[string]string{"a line that is wrong": bad.String(), "no line": "ok\n", "a broken line": `FAULT {"fault": 1}`} {
		if err := run(strings.NewReader(in), io.Discard); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
