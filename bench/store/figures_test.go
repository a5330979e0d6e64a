package main

import (
	"testing"
	"time"
)

func TestSpread(t *testing.T) {
	var samples []time.Duration
	for i := range 100 {
		samples = append(samples, time.Duration(100-i)*time.Millisecond)
	}
	if f := spread(samples); f.Value != 95 || f.Median != 50 || f.Max != 100 {
		t.Errorf("got %+v, want 95, 50, 100", f)
	}
	if f := spread(samples[:1]); f.Value != 100 || f.Median != 100 {
		t.Errorf("of one: %+v", f)
	}
	if f := spread(nil); f.Missing == "" {
		t.Errorf("of none: %+v", f)
	}
}
