package index_test

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/weir-capture/weir/analyzer/store/index"
)

// TestBuckets: a bucket's value is at most 1 % off what is in it, buckets are
// in the order of what is in them, and each has its middle in itself.
func TestBuckets(t *testing.T) {
	check := func(t interface{ Errorf(string, ...any) }, d int64) {
		b := index.BucketOf(d)
		v := index.BucketValue(b)
		if math.Abs(float64(v-d)) > float64(d)/100 {
			t.Errorf("%d is in bucket %d of %d", d, b, v)
		}
		if index.BucketOf(v) != b {
			t.Errorf("bucket %d has %d, which is in %d", b, v, index.BucketOf(v))
		}
		if d < math.MaxInt64 && index.BucketOf(d+1) < b {
			t.Errorf("%d is in bucket %d, and %d below it", d, b, d+1)
		}
	}
	for d := range int64(10_000) {
		check(t, d)
	}
	check(t, math.MaxInt64)
	rapid.Check(t, func(t *rapid.T) { check(t, rapid.Int64Min(0).Draw(t, "duration")) })
	if index.BucketValue(index.BucketOf(index.Absent)) != index.Absent {
		t.Error("absent has a bucket")
	}
}

func TestHostOf(t *testing.T) {
	for address, want := range map[string]string{
		"10.0.0.7:443": "10.0.0.7", "10.0.0.7": "10.0.0.7", "[::1]:80": "::1", "[::1]": "::1", "::1": "::1",
		"shop:80": "shop", "shop": "shop", "": "", ":80": "", "[half": "[half",
	} {
		if got := index.HostOf(address); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}

func TestEdgeKeys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := index.Edge{
			From: rapid.String().Draw(t, "from"), To: rapid.String().Draw(t, "to"),
			Protocol: rapid.String().Draw(t, "protocol"), Address: rapid.IntRange(0, 2).Draw(t, "address"),
		}
		if got, err := index.ParseEdge(e.Key()); err != nil || got != e {
			t.Errorf("%+v: key %q is %+v, %v", e, e.Key(), got, err)
		}
		text := rapid.String().Draw(t, "text")
		if got, err := index.ParseEdge(text); err == nil && got.Key() != text {
			t.Errorf("%q is read as %+v", text, got)
		}
	})
}
