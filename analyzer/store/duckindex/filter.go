package duckindex

import (
	"math"
	"strings"

	"github.com/google/uuid"

	"github.com/weir-capture/weir/analyzer/store/index"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/query"
)

// filter is a condition with its parameters. Names of columns come from the
// tables below and values are only ever parameters, so that no text of a
// query reaches SQL.
type filter struct {
	sql  string
	args []any
	// exact: the condition holds for just the rows that the query selects. If
	// not, it also holds for others.
	exact bool
}

func compile(q *query.Query) filter {
	c := compiler{exact: true}
	if q == nil || q.Root == nil {
		return filter{sql: "TRUE", exact: true}
	}
	sql := c.node(q.Root, true)
	return filter{sql: sql, args: c.args, exact: c.exact}
}

// compiler writes the condition from left to right, and its parameters with
// it.
type compiler struct {
	args  []any
	exact bool
}

func (c *compiler) arg(v any) string {
	c.args = append(c.args, v)
	return "?"
}

// unknown stands for what the index cannot decide. Under no or two negations
// (wide) rows that may fit have to stay, so it is true; under one it is false,
// so that its negation is true.
func (c *compiler) unknown(wide bool) string {
	c.exact = false
	if wide {
		return "TRUE"
	}
	return "FALSE"
}

// atMost is a condition that holds whenever the wanted one does, and for more.
// Its negation would leave out rows that fit; there the condition is of no
// use.
func (c *compiler) atMost(wide bool, write func() string) string {
	if !wide {
		return c.unknown(wide)
	}
	c.exact = false
	return write()
}

func (c *compiler) node(n query.Node, wide bool) string {
	switch n := n.(type) {
	case query.And:
		return c.join(n.Nodes, " AND ", "TRUE", wide)
	case query.Or:
		return c.join(n.Nodes, " OR ", "FALSE", wide)
	case query.Not:
		return "NOT " + c.node(n.Node, !wide)
	case query.Term:
		return c.term(n, wide)
	}
	return c.unknown(wide)
}

func (c *compiler) join(nodes []query.Node, op, empty string, wide bool) string {
	if len(nodes) == 0 {
		return empty
	}
	parts := make([]string, len(nodes))
	for i, n := range nodes {
		parts[i] = c.node(n, wide)
	}
	return "(" + strings.Join(parts, op) + ")"
}

// texts are the columns of text fields. An empty text is absent.
var texts = map[query.Field]string{
	query.FieldApp: `"app"`, query.FieldPod: `"pod"`, query.FieldNamespace: `"namespace"`, query.FieldCluster: `"cluster"`,
	query.FieldProtocol: `"protocol"`, query.FieldMethod: `"method"`, query.FieldPath: `"path"`, query.FieldEndpoint: `"endpoint"`,
	query.FieldHost: `"host"`, query.FieldQuery: `"query"`, query.FieldError: `"error"`,
	query.FieldClient: `"client"`, query.FieldServer: `"server"`,
	query.FieldID: `CAST("id" AS VARCHAR)`,
}

// numbers are the columns of numeric fields: which values are in a range at
// all, and which exist.
var numbers = map[query.Field]struct{ column, inRange, exists string }{
	query.FieldStatus:       {`"status"`, ` AND "status" <> 0`, `"status" <> 0`},
	query.FieldDuration:     {`"duration"`, ` AND "duration" >= 0`, `"duration" >= 0`},
	query.FieldTTFB:         {`"ttfb"`, ` AND "ttfb" >= 0`, `"ttfb" >= 0`},
	query.FieldRequestSize:  {`"request_size"`, "", `"request_size" <> 0`},
	query.FieldResponseSize: {`"response_size"`, "", `"response_size" <> 0`},
	query.FieldConn:         {`"conn"`, "", "TRUE"},
	query.FieldSeq:          {`"seq"`, "", "TRUE"},
}

func (c *compiler) term(t query.Term, wide bool) string {
	info, ok := query.Lookup(t.Field)
	if !ok {
		return c.unknown(wide)
	}
	one := func(query.Value) string { return c.unknown(wide) }
	switch {
	case t.Field == query.FieldFlag:
		return c.flag(t)
	case t.Field == query.FieldDirection:
		return c.direction(t)
	case t.Field == query.FieldTag:
		one = func(query.Value) string {
			return c.atMost(wide, func() string { return `"tags" <> ''` })
		}
	case texts[t.Field] != "":
		one = func(v query.Value) string { return c.text(t.Field, info, v, wide) }
	case numbers[t.Field].column != "":
		one = func(v query.Value) string { return c.number(t.Field, v, wide) }
	}
	parts := make([]string, len(t.Values))
	for i, v := range t.Values {
		parts[i] = one(v)
	}
	return "(" + strings.Join(parts, " OR ") + ")"
}

func (c *compiler) number(f query.Field, v query.Value, wide bool) string {
	n := numbers[f]
	switch v.Op {
	case query.OpExists:
		return "(" + n.exists + ")"
	case query.OpRange:
		lo, hi := v.Range.Lo, v.Range.Hi
		switch {
		case hi == math.MaxInt64:
			return "(" + n.column + " >= " + c.arg(lo) + n.inRange + ")"
		case lo == hi:
			return "(" + n.column + " = " + c.arg(lo) + n.inRange + ")"
		}
		return "(" + n.column + " BETWEEN " + c.arg(lo) + " AND " + c.arg(hi) + n.inRange + ")"
	}
	return c.unknown(wide)
}

func (c *compiler) text(f query.Field, info query.Info, v query.Value, wide bool) string {
	col := texts[f]
	folded := func(s string) string {
		if !info.Fold {
			return s
		}
		return foldASCII(s)
	}
	value := col
	if info.Fold && f != query.FieldID { // which is written in lower case
		value = fold(col)
	}
	switch v.Op {
	case query.OpExists:
		return "(" + col + " <> '')"
	case query.OpEqual:
		if f == query.FieldID {
			return c.id(v.Text)
		}
		return "(" + value + " = " + c.arg(folded(v.Text)) + ")"
	case query.OpWildcard:
		return "(" + value + " LIKE " + c.arg(folded(like(v.Parts))) + ` ESCAPE '\')`
	case query.OpPhrase:
		return "contains(" + fold(col) + ", " + c.arg(foldASCII(v.Text)) + ")"
	case query.OpWord:
		// Where words end is for the matcher.
		parts := append(append([]string{""}, v.Parts...), "")
		return c.atMost(wide, func() string {
			return "(" + fold(col) + " LIKE " + c.arg(foldASCII(like(parts))) + ` ESCAPE '\')`
		})
	}
	// DuckDB's expressions are RE2's too, but not to the letter.
	return c.unknown(wide)
}

// id compares as the type, which row groups are pruned by.
func (c *compiler) id(text string) string {
	id, err := uuid.Parse(text)
	if err != nil || len(text) != len(id.String()) {
		return "FALSE"
	}
	return `("id" = CAST(` + c.arg(id.String()) + " AS UUID))"
}

// flag and direction have few values: the matcher itself says which of them
// fulfil the term.

func (c *compiler) flag(t query.Term) string {
	m := (&query.Query{Root: t}).Matcher()
	var mask uint32
	for f := capturev1.Flag(1); query.FlagName(f) != ""; f++ {
		if m.Match(&capturev1.RRPair{Flags: []capturev1.Flag{f}}) {
			mask |= index.FlagBit(f)
		}
	}
	return `(("flags" & ` + c.arg(int64(mask)) + ") <> 0)"
}

func (c *compiler) direction(t query.Term) string {
	m := (&query.Query{Root: t}).Matcher()
	parts := []string{"FALSE"}
	for d := range capturev1.Direction_name {
		p := &capturev1.RRPair{Direction: capturev1.Direction(d)}
		if m.Match(p) {
			parts = append(parts, `"direction" = `+c.arg(query.DirectionName(p.GetDirection())))
		}
	}
	return "(" + strings.Join(parts, " OR ") + ")"
}

// like writes parts with anything between them as a pattern of LIKE.
func like(parts []string) string {
	escaped := make([]string, len(parts))
	for i, p := range parts {
		escaped[i] = likeEscaper.Replace(p)
	}
	return strings.Join(escaped, "%")
}

var likeEscaper = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

const (
	upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	lower = "abcdefghijklmnopqrstuvwxyz"
)

// fold is the column with ASCII letters, and no others, in lower case; lower()
// would change all alphabets.
func fold(col string) string { return "translate(" + col + ", '" + upper + "', '" + lower + "')" }

func foldASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
