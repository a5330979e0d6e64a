package query

import "fmt"

// Split makes the part of the query that an index can answer. can says of a
// Term or Text whether the index decides it exactly as a Matcher does.
//
// Every pair that fulfils the query fulfils part, so an index that is asked
// for part misses nothing. exact reports that the reverse is true as well;
// when it is false the pairs found have to pass the query's Matcher. part
// consists of leaves for which can is true; it is And{} when the index cannot
// narrow the search at all.
func (q *Query) Split(can func(leaf Node) bool) (part Node, exact bool) {
	return approximate(q.Root, can, true)
}

// approximate replaces the leaves that the index cannot answer, so that the
// result holds at least (above) or at most (not above) where n does. Under a
// Not the sides change.
func approximate(n Node, can func(Node) bool, above bool) (Node, bool) {
	switch n := n.(type) {
	case And:
		nodes, exact := approximateAll(n.Nodes, can, above)
		return newAnd(nodes), exact
	case Or:
		nodes, exact := approximateAll(n.Nodes, can, above)
		return newOr(nodes), exact
	case Not:
		c, exact := approximate(n.Node, can, !above)
		return newNot(c), exact
	case Term, Text:
		switch {
		case can(n):
			return n, true
		case above:
			return And{}, false
		}
		return Or{}, false
	}
	panic(fmt.Sprintf("query: no such node: %T", n))
}

func approximateAll(nodes []Node, can func(Node) bool, above bool) ([]Node, bool) {
	parts, all := make([]Node, len(nodes)), true
	for i, n := range nodes {
		var exact bool
		parts[i], exact = approximate(n, can, above)
		all = all && exact
	}
	return parts, all
}
