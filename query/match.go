package query

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unsafe"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/internal/bodycodec"
	"github.com/weir-capture/weir/internal/httphead"
)

// Bounds of what a Matcher decodes of one body. A body that is larger is
// searched up to there; a body whose coding cannot be undone is searched as it
// is.
const (
	MaxDecodedBody = 1 << 20 // bytes
	MaxBodyRatio   = 256     // times the encoded size, see bodycodec.Decode
)

// Matcher decides whether pairs fulfil a query. It does not change and may be
// used by many goroutines at once.
type Matcher struct {
	test     test
	endpoint func(*capturev1.RRPair) string
	probes   sync.Pool
}

// Option changes what a Matcher is made for.
type Option func(*Matcher)

// WithEndpoint tells a Matcher the value of the field endpoint, which is not a
// part of pairs. Without this option it is the pair's path.
func WithEndpoint(endpoint func(*capturev1.RRPair) string) Option {
	return func(m *Matcher) { m.endpoint = endpoint }
}

// Matcher compiles the query. It panics when the tree is not one that Parse
// could have made.
func (q *Query) Matcher(opts ...Option) *Matcher {
	m := &Matcher{endpoint: (*capturev1.RRPair).GetPath}
	for _, o := range opts {
		o(m)
	}
	m.test = compile(q.Root).test
	m.probes.New = func() any { return new(probe) }
	return m
}

// Match reports whether pair fulfils the query. It borrows the pair until it
// returns.
func (m *Matcher) Match(pair *capturev1.RRPair) bool {
	p := m.probes.Get().(*probe)
	p.reset(pair, m.endpoint)
	ok := m.test(p)
	p.reset(nil, nil)
	m.probes.Put(p)
	return ok
}

// Duration is the time from the first byte of the request to the last of the
// response in nanoseconds; false when either was not seen.
func Duration(p *capturev1.RRPair) (ns int64, ok bool) {
	return between(p.GetTiming().GetRequestFirst(), p.GetTiming().GetResponseLast())
}

// TTFB is the time from the first byte of the request to the first of the
// response in nanoseconds; false when either was not seen.
func TTFB(p *capturev1.RRPair) (ns int64, ok bool) {
	return between(p.GetTiming().GetRequestFirst(), p.GetTiming().GetResponseFirst())
}

func between(from, to int64) (int64, bool) {
	if from == 0 || to == 0 {
		return 0, false
	}
	return max(0, to-from), true
}

// FormatID writes the bytes of an id as FieldID has it; "" for what is not 16
// bytes.
func FormatID(id []byte) string {
	if len(id) != 16 {
		return ""
	}
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// test decides about the pair of a probe.
type test func(*probe) bool

// plan is a compiled node, with how much work it is.
type plan struct {
	test test
	cost int
}

// Costs: the fields of a pair, its header blocks, its bodies.
const (
	costField = iota
	costHead
	costBody
)

func compile(n Node) plan {
	switch n := n.(type) {
	case And:
		plans := compileAll(n.Nodes)
		return plan{func(p *probe) bool {
			for _, c := range plans {
				if !c.test(p) {
					return false
				}
			}
			return true
		}, maxCost(plans)}
	case Or:
		plans := compileAll(n.Nodes)
		return plan{func(p *probe) bool {
			for _, c := range plans {
				if c.test(p) {
					return true
				}
			}
			return false
		}, maxCost(plans)}
	case Not:
		c := compile(n.Node)
		return plan{func(p *probe) bool { return !c.test(p) }, c.cost}
	case Text:
		return plan{compileText(n.Value), costBody}
	case Term:
		return compileTerm(n)
	}
	panic(fmt.Sprintf("query: no such node: %T", n))
}

// compileAll orders the nodes so that cheap ones can spare the dear ones.
func compileAll(nodes []Node) []plan {
	plans := make([]plan, len(nodes))
	for i, n := range nodes {
		plans[i] = compile(n)
	}
	slices.SortStableFunc(plans, func(a, b plan) int { return cmp.Compare(a.cost, b.cost) })
	return plans
}

func maxCost(plans []plan) int {
	if len(plans) == 0 {
		return costField
	}
	return plans[len(plans)-1].cost
}

func compileTerm(t Term) plan {
	info, ok := Lookup(t.Field)
	if !ok {
		panic(fmt.Sprintf("query: no such field: %q", t.Field))
	}
	exists := slices.ContainsFunc(t.Values, func(v Value) bool { return v.Op == OpExists })
	if get, ok := numberOf[t.Field]; ok {
		return plan{compileNumber(t, get, exists), costField}
	}
	switch t.Field {
	case FieldHeader, FieldRequestHeader, FieldResponseHeader:
		return plan{compileHeader(t, exists), costHead}
	case FieldBody, FieldRequestBody, FieldResponseBody:
		return plan{compileBody(t, exists), costBody}
	case FieldJSON:
		return plan{compileJSON(t, exists), costBody}
	}
	match := compileString(t.Values, info)
	switch t.Field {
	case FieldTag:
		return plan{func(p *probe) bool {
			s, ok := p.pair.GetTags()[t.Key]
			return ok && (exists || match(s))
		}, costField}
	case FieldFlag:
		return plan{func(p *probe) bool {
			for _, f := range p.pair.GetFlags() {
				if name := FlagName(f); name != "" && (exists || match(name)) {
					return true
				}
			}
			return false
		}, costField}
	case FieldEndpoint:
		return plan{func(p *probe) bool {
			s := p.endpoint(p.pair)
			return match(s) || exists && s != ""
		}, costField}
	}
	get, ok := stringOf[t.Field]
	if !ok {
		panic(fmt.Sprintf("query: no value of field %q", t.Field))
	}
	return plan{func(p *probe) bool {
		s := get(p.pair)
		return match(s) || exists && s != ""
	}, costField}
}

// FlagName is a flag as queries write it, "" when there is no such flag.
func FlagName(f capturev1.Flag) string {
	if f < 1 || int(f) > len(flagNames) {
		return ""
	}
	return flagNames[f-1]
}

// DirectionName is a direction as queries write it, "" when it is not known.
func DirectionName(d capturev1.Direction) string {
	switch d {
	case capturev1.Direction_DIRECTION_INBOUND:
		return "inbound"
	case capturev1.Direction_DIRECTION_OUTBOUND:
		return "outbound"
	}
	return ""
}

// stringOf gets the text of fields that have one.
var stringOf = map[Field]func(*capturev1.RRPair) string{
	FieldID:        func(p *capturev1.RRPair) string { return FormatID(p.GetId()) },
	FieldApp:       func(p *capturev1.RRPair) string { return p.GetSource().GetApp() },
	FieldPod:       func(p *capturev1.RRPair) string { return p.GetSource().GetPod() },
	FieldNamespace: func(p *capturev1.RRPair) string { return p.GetSource().GetNamespace() },
	FieldCluster:   func(p *capturev1.RRPair) string { return p.GetSource().GetCluster() },
	FieldDirection: func(p *capturev1.RRPair) string { return DirectionName(p.GetDirection()) },
	FieldProtocol:  (*capturev1.RRPair).GetProtocol,
	FieldMethod:    (*capturev1.RRPair).GetMethod,
	FieldPath:      (*capturev1.RRPair).GetPath,
	FieldHost:      (*capturev1.RRPair).GetHost,
	FieldQuery:     (*capturev1.RRPair).GetQuery,
	FieldError:     (*capturev1.RRPair).GetError,
	FieldClient:    (*capturev1.RRPair).GetClient,
	FieldServer:    (*capturev1.RRPair).GetServer,
}

// number is a field's value: whether it can be compared, and whether OpExists
// holds.
type number struct {
	n               int64
	present, exists bool
}

var numberOf = map[Field]func(*capturev1.RRPair) number{
	FieldStatus: func(p *capturev1.RRPair) number {
		n := int64(p.GetStatus())
		return number{n, n != 0, n != 0}
	},
	FieldDuration:     func(p *capturev1.RRPair) number { n, ok := Duration(p); return number{n, ok, ok} },
	FieldTTFB:         func(p *capturev1.RRPair) number { n, ok := TTFB(p); return number{n, ok, ok} },
	FieldRequestSize:  func(p *capturev1.RRPair) number { return sizeNumber(p.GetRequest()) },
	FieldResponseSize: func(p *capturev1.RRPair) number { return sizeNumber(p.GetResponse()) },
	FieldConn:         func(p *capturev1.RRPair) number { return number{clamp(p.GetConn()), true, true} },
	FieldSeq:          func(p *capturev1.RRPair) number { return number{clamp(p.GetSeq()), true, true} },
}

func sizeNumber(m *capturev1.Message) number {
	n := clamp(m.GetBodySize())
	return number{n, true, n != 0}
}

func clamp(n uint64) int64 { return int64(min(n, math.MaxInt64)) }

func compileNumber(t Term, get func(*capturev1.RRPair) number, exists bool) test {
	var ranges []Range
	for _, v := range t.Values {
		switch v.Op {
		case OpExists:
		case OpRange:
			ranges = append(ranges, v.Range)
		default:
			panic(badOp(t.Field, v.Op))
		}
	}
	return func(p *probe) bool {
		n := get(p.pair)
		if exists && n.exists {
			return true
		}
		if n.present {
			for _, r := range ranges {
				if r.Contains(n.n) {
					return true
				}
			}
		}
		return false
	}
}

func badOp(f Field, op Op) string { return fmt.Sprintf("query: no such test of %s: %d", f, op) }

// compileString makes the test of a text from all values but OpExists.
func compileString(values []Value, info Info) func(string) bool {
	var tests []func(string) bool
	for _, v := range values {
		switch v.Op {
		case OpExists:
		case OpEqual:
			if info.Fold {
				tests = append(tests, func(s string) bool { return equalFold(s, v.Text) })
			} else {
				tests = append(tests, func(s string) bool { return s == v.Text })
			}
		case OpWildcard:
			tests = append(tests, func(s string) bool { return matchWildcard(s, v.Parts, info.Fold) })
		case OpRegex:
			tests = append(tests, regexp.MustCompile(v.Text).MatchString)
		case OpDecimal:
			tests = append(tests, func(s string) bool {
				f, ok := readDecimal(s)
				return ok && v.Decimal.Contains(f)
			})
		case OpWord, OpPhrase:
			find := finder(v)
			tests = append(tests, func(s string) bool { return find(lower(s)) })
		default:
			panic(badOp(info.Name, v.Op))
		}
	}
	return anyOf(tests)
}

func anyOf(tests []func(string) bool) func(string) bool {
	if len(tests) == 1 {
		return tests[0]
	}
	return func(s string) bool {
		for _, t := range tests {
			if t(s) {
				return true
			}
		}
		return false
	}
}

// finder tests text in lower case.
func finder(v Value) func(lowered string) bool {
	if v.Op == OpPhrase {
		return func(s string) bool { return strings.Contains(s, v.Text) }
	}
	return func(s string) bool { return findWord(s, v.Parts) }
}

func compileText(v Value) test {
	if v.Op != OpWord && v.Op != OpPhrase {
		panic(badOp("text", v.Op))
	}
	find := finder(v)
	return func(p *probe) bool {
		if find(lower(p.pair.GetPath())) || find(lower(p.pair.GetQuery())) {
			return true
		}
		for i := range p.sides {
			s := &p.sides[i]
			_, section := httphead.StartLine(s.msg.GetHead())
			if find(lower(view(section))) || find(lower(view(s.msg.GetTrailers()))) {
				return true
			}
		}
		return find(p.sides[0].lowerBody()) || find(p.sides[1].lowerBody())
	}
}

// which sides of a pair a field looks at: from and to as of a slice.
func which(f Field) (from, to int) {
	switch f {
	case FieldRequestHeader, FieldRequestBody:
		return 0, 1
	case FieldResponseHeader, FieldResponseBody:
		return 1, 2
	}
	return 0, 2
}

func compileHeader(t Term, exists bool) test {
	info, _ := Lookup(t.Field)
	match := compileString(t.Values, info)
	from, to := which(t.Field)
	return func(p *probe) bool {
		for i := from; i < to; i++ {
			for _, f := range p.sides[i].headers() {
				if f.Is(t.Key) && (exists || match(view(f.Value))) {
					return true
				}
			}
		}
		return false
	}
}

func compileBody(t Term, exists bool) test {
	var lowered []func(string) bool
	var exact []*regexp.Regexp
	for _, v := range t.Values {
		switch v.Op {
		case OpExists:
		case OpWord, OpPhrase:
			lowered = append(lowered, finder(v))
		case OpRegex:
			exact = append(exact, regexp.MustCompile(v.Text))
		default:
			panic(badOp(t.Field, v.Op))
		}
	}
	find := anyOf(lowered)
	match := func(p *probe, body []byte) bool {
		return slices.ContainsFunc(exact, func(re *regexp.Regexp) bool { return p.matches(re, body) })
	}
	from, to := which(t.Field)
	return func(p *probe) bool {
		for i := from; i < to; i++ {
			s := &p.sides[i]
			switch {
			case exists && (s.msg.GetBodySize() > 0 || len(s.msg.GetBody()) > 0),
				len(lowered) > 0 && find(s.lowerBody()),
				len(exact) > 0 && match(p, s.content()):
				return true
			}
		}
		return false
	}
}

func compileJSON(t Term, exists bool) test {
	path, err := parseJSONPath(t.Key)
	if err != nil {
		panic(fmt.Sprintf("query: bad JSON path %q: %v", t.Key, err))
	}
	info, _ := Lookup(t.Field)
	match := compileString(t.Values, info)
	var numbers []float64
	for _, v := range t.Values {
		if f, ok := readDecimal(v.Text); ok && v.Op == OpEqual {
			numbers = append(numbers, f)
		}
	}
	visit := func(kind jsonKind, s string) bool {
		if exists {
			return true
		}
		if kind == '{' || kind == '[' {
			return false
		}
		if kind == '0' && len(numbers) > 0 {
			if f, ok := readDecimal(s); ok && slices.Contains(numbers, f) {
				return true
			}
		}
		return match(s)
	}
	return func(p *probe) bool {
		return path.visit(view(p.sides[0].content()), visit) || path.visit(view(p.sides[1].content()), visit)
	}
}

// probe is one pair under test, with what was derived from it so far.
type probe struct {
	pair     *capturev1.RRPair
	endpoint func(*capturev1.RRPair) string
	sides    [2]side // request, response
	// ctx, when set, ends long tests; err is its error then.
	ctx context.Context
	err error
}

// side is one message of the pair. Its buffers are kept from pair to pair.
type side struct {
	msg        *capturev1.Message
	fields     []httphead.Field
	hasFields  bool
	body       []byte
	hasBody    bool
	lowered    []byte
	hasLowered bool
}

// Bounds of the buffers that a probe keeps for the next pair.
const (
	maxKept       = 256 << 10
	maxKeptFields = 512
)

func (p *probe) reset(pair *capturev1.RRPair, endpoint func(*capturev1.RRPair) string) {
	p.pair, p.endpoint = pair, endpoint
	p.ctx, p.err = nil, nil
	p.sides[0].reset(pair.GetRequest())
	p.sides[1].reset(pair.GetResponse())
}

func (s *side) reset(msg *capturev1.Message) {
	s.msg = msg
	clear(s.fields)
	s.fields, s.hasFields = s.fields[:0], false
	s.body, s.hasBody = nil, false
	s.hasLowered = false
	if cap(s.lowered) > maxKept {
		s.lowered = nil
	}
	if cap(s.fields) > maxKeptFields {
		s.fields = nil
	}
}

// headers lists header fields and trailers.
func (s *side) headers() []httphead.Field {
	if !s.hasFields {
		s.hasFields = true
		for f := range httphead.Fields(s.msg.GetHead()) {
			s.fields = append(s.fields, f)
		}
		for f := range httphead.Section(s.msg.GetTrailers()) {
			s.fields = append(s.fields, f)
		}
	}
	return s.fields
}

// content is the body with its content codings undone.
func (s *side) content() []byte {
	if !s.hasBody {
		s.hasBody = true
		s.body = Content(s.msg)
	}
	return s.body
}

// lowerBody is content in lower case.
func (s *side) lowerBody() string {
	if !s.hasLowered {
		s.hasLowered = true
		s.lowered = append(s.lowered[:0], s.content()...)
		for i, c := range s.lowered {
			if 'A' <= c && c <= 'Z' {
				s.lowered[i] = c + 'a' - 'A'
			}
		}
	}
	return view(s.lowered)
}

// Content is the body that queries search: with its content codings undone, as
// far as MaxDecodedBody and MaxBodyRatio allow, or as it is when they cannot
// be undone. It may share the message's memory.
func Content(m *capturev1.Message) []byte {
	body := m.GetBody()
	if len(body) == 0 || m.GetBodyDecoded() {
		return body
	}
	var values []string
	for f := range httphead.Fields(m.GetHead()) {
		if f.Is("content-encoding") {
			values = append(values, string(f.Value))
		}
	}
	codings := bodycodec.Codings(values...)
	if len(codings) == 0 {
		return body
	}
	out, err := bodycodec.Decode(codings, body, MaxDecodedBody, MaxBodyRatio)
	if err != nil && len(out) == 0 {
		return body
	}
	return out
}

// view lets text functions read bytes without copying them. The string must
// not outlive the bytes, and nobody may write to them meanwhile: both hold
// within one Match, which borrows its pair.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
