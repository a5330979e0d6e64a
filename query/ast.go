package query

import "math"

// Query is one parsed query. It does not change after Parse and may be shared.
type Query struct {
	// Root is what a pair has to fulfil. A query without terms has And{}.
	Root Node
}

// Node is And, Or, Not, Term or Text. Nodes are values, hold no positions, and
// compare with reflect.DeepEqual: two queries that differ only in spacing,
// parentheses or spelling of numbers have equal trees.
type Node interface {
	// String is the canonical form of the node as a query of its own.
	String() string
	node()
}

// And holds when all its nodes hold; without nodes, always. After Parse it has
// no or at least two nodes, and none of them is an And.
type And struct{ Nodes []Node }

// Or holds when any of its nodes holds; without nodes, never. After Parse it
// has no or at least two nodes, and none of them is an Or.
type Or struct{ Nodes []Node }

// Not holds when its node does not. Its node is never a Not.
type Not struct{ Node Node }

// Term holds when any value that the pair has for the field fulfils any of
// Values: method:(GET POST) is one Term with two Values.
//
// A pair may have no value for a field, then no Value is fulfilled; see the
// field's constant for when that is so. A pair may have several values for
// header, body, json and flag.
type Term struct {
	Field Field
	// Key is what follows the field's dot: a header name in lower case, a tag
	// name, a JSON path. Empty for fields that are not keyed.
	Key string
	// Values has at least one entry, sorted and without duplicates.
	Values []Value
}

// Text holds when its Value is found in any of: the path, the query string,
// the header and trailer lines (names and values, not the start line) and the
// bodies of request and response. Value.Op is OpWord or OpPhrase.
type Text struct{ Value Value }

func (And) node()  {}
func (Or) node()   {}
func (Not) node()  {}
func (Term) node() {}
func (Text) node() {}

// Op is a kind of test.
type Op uint8

const (
	// OpExists: the pair has a value for the field.
	OpExists Op = iota + 1
	// OpEqual: the whole value is Value.Text. Fields with Info.Fold compare
	// without regard to the case of ASCII letters.
	OpEqual
	// OpWildcard: the whole value is Value.Parts with any run of characters,
	// also none, between each two parts. "/a*" has the parts "/a" and "".
	// There are at least two parts, and only the first and the last can be
	// empty. Case as for OpEqual.
	OpWildcard
	// OpRegex: the RE2 expression Value.Text matches somewhere in the value.
	// Case counts, unless the expression says (?i).
	OpRegex
	// OpRange: the value is a number within Value.Range.
	OpRange
	// OpDecimal: the value reads as a decimal number and is within
	// Value.Decimal. Only for fields of TypeAny.
	OpDecimal
	// OpWord: Value.Parts occur in the value in this order with any run of
	// characters between each two. An end that is not a star (not an empty
	// part) and is an ASCII letter or digit must not have another ASCII letter
	// or digit beside it: "fail" finds "fail:" and "x_fail", not "failed";
	// "fail*" (parts "fail", "") finds that too. The case of ASCII letters
	// does not count. Only for Text and fields of TypeWords. One part or more.
	OpWord
	// OpPhrase: Value.Text, which is not empty, occurs in the value anywhere,
	// also within a word. The case of ASCII letters does not count. Only for
	// Text and fields of TypeWords.
	OpPhrase
)

// Value is one test of a field's value. Where case does not count, Text and
// Parts are in lower case (ASCII letters only), so that a compiler compares
// them with the lowered value.
type Value struct {
	Op      Op
	Text    string   // OpEqual, OpRegex, OpPhrase
	Parts   []string // OpWildcard, OpWord
	Range   Range    // OpRange
	Decimal Decimal  // OpDecimal
}

// Range is an interval of whole numbers in the field's own unit: nanoseconds,
// bytes, or a count. Both ends belong to it. Without a lower end Lo is 0
// (nothing here is negative), without an upper end Hi is math.MaxInt64.
type Range struct{ Lo, Hi int64 }

// Contains reports whether n is in the range.
func (r Range) Contains(n int64) bool { return r.Lo <= n && n <= r.Hi }

// Decimal is an interval of decimal numbers. A missing end is infinite.
type Decimal struct {
	Lo, Hi float64
	// LoOpen, HiOpen: the end itself does not belong to the interval.
	LoOpen, HiOpen bool
}

// Contains reports whether f is in the interval.
func (d Decimal) Contains(f float64) bool {
	if math.IsNaN(f) || f < d.Lo || f > d.Hi {
		return false
	}
	return (!d.LoOpen || f != d.Lo) && (!d.HiOpen || f != d.Hi)
}
