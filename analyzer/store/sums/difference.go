package sums

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/index"
)

// Difference counts values inside and outside a part of the rows.
type Difference struct {
	limit  int
	values map[fieldValue]*store.DifferenceValue
	// kinds counts the values of each field, which are bounded.
	kinds map[string]int
	left  uint64
	out   store.DifferenceList
}

type fieldValue struct{ field, value string }

// NewDifference makes an empty sum. See store.Difference for limit.
func NewDifference(limit int) *Difference {
	return &Difference{limit: limit, values: map[fieldValue]*store.DifferenceValue{}, kinds: map[string]int{}}
}

// Add counts a row. It is only read.
func (d *Difference) Add(r *index.Row, inside bool) error {
	if inside {
		d.out.Inside++
	} else {
		d.out.Outside++
	}
	for _, field := range store.DifferenceFields() {
		if field == store.FieldTag {
			tags, err := TagsOf(r.Tags)
			if err != nil {
				return err
			}
			for k, v := range tags {
				d.count(field, store.FieldTag+"."+k, v, inside)
			}
		} else if v := Value(r, field); v != "" {
			d.count(field, field, v, inside)
		}
	}
	return nil
}

// TagsOf reads the tags of a row.
func TagsOf(text string) (tags map[string]string, err error) {
	if text == "" {
		return nil, nil
	}
	if err := json.Unmarshal([]byte(text), &tags); err != nil {
		return nil, fmt.Errorf("decode tags: %w", err)
	}
	return tags, nil
}

func (d *Difference) count(of, field, value string, inside bool) {
	v := d.values[fieldValue{field, value}]
	if v == nil {
		if d.kinds[of] >= maxLines {
			d.left++
			return
		}
		d.kinds[of]++
		v = &store.DifferenceValue{Field: field, Value: value}
		d.values[fieldValue{field, value}] = v
	}
	if inside {
		v.Inside++
	} else {
		v.Outside++
	}
}

// List is the answer.
func (d *Difference) List() *store.DifferenceList {
	out := d.out
	out.Partial = tooMany("values of a field", d.left)
	byField := map[string][]store.DifferenceValue{}
	for k, v := range d.values {
		byField[DifferenceFieldOf(k.field)] = append(byField[DifferenceFieldOf(k.field)], *v)
	}
	for _, values := range byField {
		out.Values = append(out.Values, Different(values, out.Inside, out.Outside, d.limit)...)
	}
	Rank(&out)
	return &out
}

// DifferenceFieldOf is the one of store.DifferenceFields that a value is of.
func DifferenceFieldOf(field string) string {
	if len(field) > len(store.FieldTag) && field[:len(store.FieldTag)+1] == store.FieldTag+"." {
		return store.FieldTag
	}
	return field
}

// Different are the values of one field that are more frequent inside, at most
// as many as limit allows.
func Different(values []store.DifferenceValue, inside, outside uint64, limit int) []store.DifferenceValue {
	values = slices.DeleteFunc(values, func(v store.DifferenceValue) bool { return v.Score(inside, outside) <= 0 })
	list := store.DifferenceList{Values: values, Inside: inside, Outside: outside}
	Rank(&list)
	return list.Values[:min(Limit(limit, DefaultValues), len(list.Values))]
}

// Rank puts the values of an answer in order.
func Rank(l *store.DifferenceList) {
	fields := store.DifferenceFields()
	place := func(v *store.DifferenceValue) int { return slices.Index(fields, DifferenceFieldOf(v.Field)) }
	slices.SortFunc(l.Values, func(a, b store.DifferenceValue) int {
		return cmp.Or(cmp.Compare(b.Score(l.Inside, l.Outside), a.Score(l.Inside, l.Outside)),
			cmp.Compare(place(&a), place(&b)), cmp.Compare(a.Field, b.Field), cmp.Compare(a.Value, b.Value))
	})
}
