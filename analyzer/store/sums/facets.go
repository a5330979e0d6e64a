package sums

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/index"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/query"
)

// CheckFields is an error when one of the fields cannot be counted.
func CheckFields(fields []string) error {
	for _, f := range fields {
		if !slices.Contains(store.FacetFields(), f) {
			return fmt.Errorf("values of field %q cannot be counted; there are %s", f, strings.Join(store.FacetFields(), ", "))
		}
	}
	return nil
}

// Facets counts values of fields.
type Facets struct {
	fields []facet
	prefix string
	out    store.FacetCounts
	left   uint64
}

type facet struct {
	name   string
	values map[string]*store.FacetValue
	absent uint64
}

// NewFacets makes an empty sum. See store.Facets for fields and prefix.
func NewFacets(fields []string, prefix string) (*Facets, error) {
	if err := CheckFields(fields); err != nil {
		return nil, err
	}
	f := &Facets{prefix: lower(prefix)}
	for _, name := range fields {
		f.fields = append(f.fields, facet{name: name, values: map[string]*store.FacetValue{}})
	}
	return f, nil
}

// Add counts a row. It is only read.
func (f *Facets) Add(r *index.Row) {
	f.out.Pairs++
	f.out.Estimated += uint64(r.Weight)
	for i := range f.fields {
		c := &f.fields[i]
		if c.name == "flag" {
			for flag := capturev1.Flag(1); query.FlagName(flag) != ""; flag++ {
				if r.Flags&index.FlagBit(flag) != 0 {
					f.count(c, query.FlagName(flag), r.Weight)
				}
			}
			if r.Flags == 0 {
				c.absent++
			}
			continue
		}
		if v := Value(r, c.name); v != "" {
			f.count(c, v, r.Weight)
		} else {
			c.absent++
		}
	}
}

func (f *Facets) count(c *facet, v string, weight uint32) {
	if !strings.HasPrefix(lower(v), f.prefix) {
		return
	}
	n := c.values[v]
	if n == nil {
		if len(c.values) >= maxLines {
			f.left++
			return
		}
		n = &store.FacetValue{Value: v}
		c.values[v] = n
	}
	n.Pairs++
	n.Estimated += uint64(weight)
}

// Counts is the answer: see store.Facets for limit.
func (f *Facets) Counts(limit int) *store.FacetCounts {
	out := f.out
	out.Partial = tooMany("values of a field", f.left)
	for _, c := range f.fields {
		all := make([]store.FacetValue, 0, len(c.values))
		for _, v := range c.values {
			all = append(all, *v)
		}
		out.Facets = append(out.Facets, TopOf(c.name, all, c.absent, limit, ""))
	}
	return &out
}

// TopOf is the facet of all the values that a field has, of which it takes
// hold. Those without pairs, or without the prefix, do not count.
func TopOf(field string, all []store.FacetValue, absent uint64, limit int, prefix string) store.Facet {
	prefix = lower(prefix)
	all = slices.DeleteFunc(all, func(v store.FacetValue) bool {
		return v.Pairs == 0 || !strings.HasPrefix(lower(v.Value), prefix)
	})
	slices.SortFunc(all, func(a, b store.FacetValue) int {
		return cmp.Or(cmp.Compare(b.Pairs, a.Pairs), cmp.Compare(a.Value, b.Value))
	})
	limit = Limit(limit, DefaultValues)
	f := store.Facet{Field: field, Absent: absent, Distinct: uint64(len(all))}
	if len(all) > 0 {
		f.Values = all[:min(limit, len(all))]
	}
	for _, v := range all[len(f.Values):] {
		f.Others += v.Pairs
	}
	return f
}

// Value is what a row has for a field other than flag; empty for nothing.
func Value(r *index.Row, field string) string {
	switch field {
	case "app":
		return r.App
	case "pod":
		return r.Pod
	case "namespace":
		return r.Namespace
	case "cluster":
		return r.Cluster
	case "direction":
		return r.Direction
	case "protocol":
		return r.Protocol
	case "method":
		return r.Method
	case "path":
		return r.Path
	case "endpoint":
		return r.Endpoint
	case "host":
		return r.Host
	case "status":
		if r.Status == 0 {
			return ""
		}
		return strconv.Itoa(int(r.Status))
	case "error":
		return r.Error
	case "client":
		return r.ClientHost
	case "server":
		return r.ServerHost
	}
	return ""
}

// lower turns A–Z into a–z and leaves all else as it is.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
