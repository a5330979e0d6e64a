package query

import "reflect"

func newAnd(nodes []Node) Node {
	var flat []Node
	for _, n := range nodes {
		switch n := n.(type) {
		case And:
			flat = append(flat, n.Nodes...)
			continue
		case Or:
			if len(n.Nodes) == 0 {
				return n
			}
		}
		flat = append(flat, n)
	}
	if len(flat) == 1 {
		return flat[0]
	}
	return And{flat}
}

func newOr(nodes []Node) Node {
	var flat []Node
	for _, n := range nodes {
		switch n := n.(type) {
		case Or:
			flat = append(flat, n.Nodes...)
			continue
		case And:
			if len(n.Nodes) == 0 {
				return n
			}
		}
		flat = append(flat, n)
	}
	if len(flat) == 1 {
		return flat[0]
	}
	return Or{flat}
}

func newNot(n Node) Node {
	switch n := n.(type) {
	case Not:
		return n.Node
	case And:
		if len(n.Nodes) == 0 {
			return Or{}
		}
	case Or:
		if len(n.Nodes) == 0 {
			return And{}
		}
	}
	return Not{n}
}

// Equal reports whether two queries have the same tree, and so ask the same.
func (q *Query) Equal(o *Query) bool { return reflect.DeepEqual(q.Root, o.Root) }
