package query

import (
	"bytes"
	"context"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// largeBody is from where on a regular expression takes so long that it has to
// be ended within a body, in bytes.
const largeBody = 1 << 20

// MatchContext is Match that ends soon after ctx does, and with its error, also
// within a large body.
func (m *Matcher) MatchContext(ctx context.Context, pair *capturev1.RRPair) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	p := m.probes.Get().(*probe)
	p.reset(pair, m.endpoint)
	p.ctx = ctx
	ok := m.test(p)
	err := p.err
	p.reset(nil, nil)
	m.probes.Put(p)
	return ok && err == nil, err
}

// matches tests a body against an expression.
func (p *probe) matches(re *regexp.Regexp, body []byte) bool {
	if p.ctx == nil || len(body) < largeBody {
		return re.Match(body)
	}
	// Every match begins with it, but for assertions such as ^.
	if prefix, _ := re.LiteralPrefix(); prefix != "" {
		i := bytes.Index(body, []byte(prefix))
		if i < 0 {
			return false
		}
		if strings.HasPrefix(re.String(), regexp.QuoteMeta(prefix)) {
			body = body[i:]
		}
	}
	ok := re.MatchReader(&runes{ctx: p.ctx, left: body})
	if err := p.ctx.Err(); err != nil {
		p.err = err
		return false
	}
	return ok
}

// runes reads bytes as characters, as regexp does, until a context ends.
type runes struct {
	ctx  context.Context
	left []byte
	n    int
}

// ReadRune implements io.RuneReader.
func (r *runes) ReadRune() (c rune, size int, err error) {
	if r.n++; r.n%(64<<10) == 0 {
		if err := r.ctx.Err(); err != nil {
			return 0, 0, err
		}
	}
	if len(r.left) == 0 {
		return 0, 0, io.EOF
	}
	c, size = utf8.DecodeRune(r.left)
	r.left = r.left[size:]
	return c, size, nil
}
