package faultreport

import (
	"reflect"
	"strings"
	"testing"
)

var example = Line{
	Fault: "R11 forwarder away", Generated: 100, Stored: 90, Filtered: 1, Sampled: 2,
	Dropped: map[string]uint64{"proxy/memory": 7}, Note: `p99 "same" {or} less`,
}

func TestALineIsReadAsItWasWritten(t *testing.T) {
	got, found, err := Parse("    fault_test.go:12: " + example.String() + "\n")
	if !found || err != nil || !reflect.DeepEqual(got, example) {
		t.Errorf("%+v, %v, %v", got, found, err)
	}
	if _, found, _ := Parse("no FAULT here"); found {
		t.Error("a line was found where there is none")
	}
	if _, found, err := Parse(`FAULT {"fault": oops`); !found || err == nil {
		t.Errorf("a broken line: found %v, %v", found, err)
	}
}

func TestOnlyAWholeAccountIsOK(t *testing.T) {
	if !example.OK() {
		t.Error("what was declared is not lost")
	}
	for _, l := range []Line{{Lost: 1}, {Twice: 1}, {Phantom: 1}} {
		if l.OK() {
			t.Errorf("%v is taken for a whole account", l)
		}
	}
}

func TestTable(t *testing.T) {
	var b strings.Builder
	if err := Table(&b, []Line{{Fault: "R20 last", Lost: 3}, example}); err != nil {
		t.Fatal(err)
	}
	rows := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(rows) != 4 || !strings.Contains(rows[2], "proxy/memory 7, filtered 1, sampled 2") || !strings.Contains(rows[3], "R20 last") {
		t.Errorf("table:\n%s", b.String())
	}
}
