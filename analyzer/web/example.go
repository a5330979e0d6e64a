package web

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/query"
)

// example is a request as far as a query describes it with plain values: what
// is known of it, and nothing else. Expressions are held against it with three
// answers, since most of a request is not known.
type example struct {
	pair *capturev1.RRPair
	// known has the fields that the query gave a value, keyed ones with their
	// key.
	known map[string]bool
	// methodAsked: the query says something of the method.
	methodAsked bool
}

// verdict is what an expression says of an example.
type verdict int

const (
	no verdict = iota
	maybe
	yes
)

// terms are those that all have to hold.
func terms(n query.Node) []query.Node {
	if and, ok := n.(query.And); ok {
		return and.Nodes
	}
	return []query.Node{n}
}

// exampleOf reads the plain terms of a query.
func exampleOf(q *query.Query) example {
	e := example{pair: &capturev1.RRPair{Source: &capturev1.Source{}, Request: &capturev1.Message{}, Response: &capturev1.Message{}}, known: map[string]bool{}}
	var head strings.Builder
	for _, n := range terms(q.Root) {
		if not, ok := n.(query.Not); ok {
			t, ok := not.Node.(query.Term)
			e.methodAsked = e.methodAsked || ok && t.Field == query.FieldMethod
			continue
		}
		t, ok := n.(query.Term)
		if !ok || len(t.Values) == 0 {
			continue
		}
		e.methodAsked = e.methodAsked || t.Field == query.FieldMethod
		v := t.Values[0]
		if len(t.Values) > 1 {
			// host:shop is two values: as it is, and with any port.
			i := slices.IndexFunc(t.Values, func(v query.Value) bool { return v.Op == query.OpEqual })
			if t.Field != query.FieldHost || i < 0 {
				continue
			}
			v = t.Values[i]
		}
		if v.Op == query.OpRange && t.Field == query.FieldStatus && v.Range.Lo == v.Range.Hi {
			e.pair.Status = int32(v.Range.Lo)
			e.known[string(t.Field)] = true
			continue
		}
		if v.Op != query.OpEqual {
			continue
		}
		switch t.Field {
		case query.FieldMethod:
			e.pair.Method = v.Text
		case query.FieldPath:
			e.pair.Path = v.Text
		case query.FieldHost:
			e.pair.Host = v.Text
		case query.FieldProtocol:
			e.pair.Protocol = v.Text
		case query.FieldApp:
			e.pair.Source.App = v.Text
		case query.FieldNamespace:
			e.pair.Source.Namespace = v.Text
		case query.FieldCluster:
			e.pair.Source.Cluster = v.Text
		case query.FieldPod:
			e.pair.Source.Pod = v.Text
		case query.FieldHeader, query.FieldRequestHeader:
			if !strings.ContainsAny(t.Key+v.Text, "\r\n") {
				head.WriteString(http.CanonicalHeaderKey(t.Key) + ": " + v.Text + "\r\n")
				e.known[string(query.FieldHeader)+"."+t.Key] = true
				e.known[string(query.FieldRequestHeader)+"."+t.Key] = true
			}
			continue
		default:
			continue
		}
		e.known[string(t.Field)] = true
	}
	e.pair.Request.Head = []byte("GET / HTTP/1.1\r\n" + head.String() + "\r\n")
	return e
}

// asGET is the same request as a GET; ok is false where its method is known,
// or something is known of it. Who asks for a path and says no more means one.
func (e example) asGET() (get example, ok bool) {
	if e.methodAsked {
		return e, false
	}
	pair := proto.CloneOf(e.pair)
	pair.Method = http.MethodGet
	known := maps.Clone(e.known)
	known[string(query.FieldMethod)] = true
	return example{pair: pair, known: known}, true
}

// app is the one that was asked about; empty for any.
func (e example) app() string { return e.pair.GetSource().GetApp() }

// judge says whether an expression holds for every request like this one, for
// none, or for some.
func (e example) judge(n query.Node) verdict {
	switch n := n.(type) {
	case query.And:
		all := yes
		for _, n := range n.Nodes {
			all = min(all, e.judge(n))
		}
		return all
	case query.Or:
		one := no
		for _, n := range n.Nodes {
			one = max(one, e.judge(n))
		}
		return one
	case query.Not:
		return yes - e.judge(n.Node)
	case query.Term:
		name := string(n.Field)
		if n.Key != "" {
			name += "." + n.Key
		}
		if !e.known[name] {
			return maybe
		}
		if e.matches(n) {
			return yes
		}
		if n.Field == query.FieldHeader {
			return maybe // the response, or another field of that name, may have it
		}
		return no
	}
	if e.matches(n) {
		return yes
	}
	return maybe
}

func (e example) matches(n query.Node) bool {
	q := &query.Query{Root: n}
	return q.Matcher().Match(e.pair)
}
