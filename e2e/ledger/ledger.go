// Package ledger is the oracle of the end-to-end tests. Every request carries
// an id of its own; the client writes down what it did, the server what it
// served, and the analyzer shows what it stored. Compare sets the three side
// by side and names every difference: a pair that is missing, that is there
// twice, that nobody made, whose bytes differ, or that has another request's
// response.
package ledger

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/zeebo/xxh3"
)

// Header carries a request's id; servers that can repeat it in the response.
const Header = "X-Weir-Id"

// BodyLimit is how much of a body a proxy keeps unless it is told otherwise.
const BodyLimit = 1 << 20

// NewID is 128 random bits in hexadecimal.
func NewID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

var idPattern = regexp.MustCompile(`\b[0-9a-f]{32}\b`)

// FindID is the id in a request target, empty when there is none.
func FindID(target string) string { return idPattern.FindString(target) }

// Body is what the ledger remembers of a body: without its framing, with its
// content coding.
type Body struct {
	Size int64
	// SHA256 of all of it and of its first BodyLimit bytes.
	SHA, PrefixSHA [32]byte
	// XXH3 is the XXH3-128 that a pair states for a whole body.
	XXH3 [16]byte
}

// Digest reads a body to its end. What it read before an error is in the
// result.
func Digest(r io.Reader) (Body, error) {
	whole, prefix, fast := sha256.New(), sha256.New(), xxh3.New()
	var b Body
	left := int64(BodyLimit)
	buf := make([]byte, 64<<10)
	for {
		n, err := r.Read(buf)
		p := buf[:n]
		b.Size += int64(n)
		whole.Write(p)
		_, _ = fast.Write(p) // never fails
		if keep := min(left, int64(n)); keep > 0 {
			prefix.Write(p[:keep])
			left -= keep
		}
		if err == io.EOF {
			err = nil
		} else if err == nil {
			continue
		}
		whole.Sum(b.SHA[:0])
		prefix.Sum(b.PrefixSHA[:0])
		b.XXH3 = fast.Sum128().Bytes()
		return b, err
	}
}

// DigestBytes is Digest of bytes at hand.
func DigestBytes(p []byte) Body {
	b, _ := Digest(bytes.NewReader(p))
	return b
}

// Call is one request as its client saw it.
type Call struct {
	ID string
	// Client is the kind of client, for messages.
	Client string
	Method string
	// Target is path and query as sent.
	Target string
	Out    Body
	// Status is 0 when no response came.
	Status int
	In     Body
	// Err is what went wrong for the client; empty when all was well.
	Err string
	// Aborted: the client broke the exchange off on purpose.
	Aborted bool
}

// Served is one request as the server's own log has it.
type Served struct {
	ID     string
	Method string
	Target string
	Status int
}

// Stored is one pair as the analyzer's API shows it.
type Stored struct {
	// Pair is its id at the analyzer.
	Pair string
	// ID is from the request's target, HeaderID from its header (empty when
	// it has none), EchoID from the response's header (likewise).
	ID, HeaderID, EchoID string
	Method, Target       string
	Status               int
	Out, In              StoredBody
	Flags                []string
	Error                string
	App, Cluster         string
}

// StoredBody is one body of a stored pair.
type StoredBody struct {
	// Size and Hash are what the pair states of the whole body; Hash is empty
	// when it states none.
	Size int64
	Hash []byte
	// Kept and SHA are of the bytes that were stored.
	Kept      int64
	SHA       [32]byte
	KeptXXH3  [16]byte
	Truncated bool
}

// Report is the outcome. Every entry is one sentence about one id.
type Report struct {
	Calls, Served, Stored int

	// Lost: the client has an answer and the store has no pair.
	Lost []string
	// Twice: more than one pair for one request.
	Twice []string
	// Phantom: a pair that no client asked for.
	Phantom []string
	// Corrupt: method, target, status or bytes differ.
	Corrupt []string
	// Mispaired: a request with the response to another.
	Mispaired []string
	// Failed: a client got no answer, or another than the server gave, or the
	// server saw a request never or twice: the proxy was in the way.
	Failed []string
}

// OK tells whether nothing was found.
func (r *Report) OK() bool {
	return len(r.Lost)+len(r.Twice)+len(r.Phantom)+len(r.Corrupt)+len(r.Mispaired)+len(r.Failed) == 0
}

// String is one line of counts, and the first differences of each kind below
// it.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d calls, %d served, %d stored: %d lost, %d twice, %d phantom, %d corrupt, %d mispaired, %d failed",
		r.Calls, r.Served, r.Stored, len(r.Lost), len(r.Twice), len(r.Phantom), len(r.Corrupt), len(r.Mispaired), len(r.Failed))
	for _, kind := range []struct {
		name string
		list []string
	}{
		{"lost", r.Lost},
		{"twice", r.Twice},
		{"phantom", r.Phantom},
		{"corrupt", r.Corrupt},
		{"mispaired", r.Mispaired},
		{"failed", r.Failed},
	} {
		for i, s := range kind.list {
			if i == 10 {
				fmt.Fprintf(&b, "\n  %s: … and %d more", kind.name, len(kind.list)-i)
				break
			}
			fmt.Fprintf(&b, "\n  %s: %s", kind.name, s)
		}
	}
	return b.String()
}

// Compare sets what clients did beside what servers served and what was
// stored.
func Compare(calls []Call, served []Served, stored []Stored) *Report {
	r := &Report{Calls: len(calls), Served: len(served), Stored: len(stored)}

	byID := make(map[string]*Call, len(calls))
	// Whose response a body is, where only one call got it.
	owner := map[[32]byte]string{}
	for i := range calls {
		c := &calls[i]
		byID[c.ID] = c
		if _, shared := owner[c.In.SHA]; shared || c.In.Size == 0 {
			owner[c.In.SHA] = ""
		} else {
			owner[c.In.SHA] = c.ID
		}
	}

	servedBy := map[string][]Served{}
	for _, s := range served {
		servedBy[s.ID] = append(servedBy[s.ID], s)
		if byID[s.ID] == nil {
			r.Failed = append(r.Failed, fmt.Sprintf("the server saw %s %s, which no client sent", s.Method, s.Target))
		}
	}
	storedBy := map[string][]Stored{}
	for _, s := range stored {
		if s.ID == "" || byID[s.ID] == nil {
			r.Phantom = append(r.Phantom, fmt.Sprintf("pair %s: %s %s", s.Pair, s.Method, s.Target))
			continue
		}
		storedBy[s.ID] = append(storedBy[s.ID], s)
	}

	for i := range calls {
		c := &calls[i]
		name := fmt.Sprintf("%s %s %s (%s)", c.Client, c.Method, c.Target, c.ID)
		if !c.Aborted {
			switch {
			case c.Err != "":
				r.Failed = append(r.Failed, name+": "+c.Err)
			case len(servedBy[c.ID]) != 1:
				r.Failed = append(r.Failed, fmt.Sprintf("%s: the server saw it %d times", name, len(servedBy[c.ID])))
			case servedBy[c.ID][0].Status != c.Status:
				r.Failed = append(r.Failed, fmt.Sprintf("%s: the server answered %d, the client got %d", name, servedBy[c.ID][0].Status, c.Status))
			}
		}
		pairs := storedBy[c.ID]
		switch len(pairs) {
		case 0:
			r.Lost = append(r.Lost, name)
			continue
		case 1:
		default:
			ids := make([]string, len(pairs))
			for i, p := range pairs {
				ids[i] = p.Pair
			}
			r.Twice = append(r.Twice, fmt.Sprintf("%s: pairs %s", name, strings.Join(ids, ", ")))
		}
		for _, p := range pairs {
			r.compare(name, c, p, owner)
		}
	}
	return r
}

func (r *Report) compare(name string, c *Call, p Stored, owner map[[32]byte]string) {
	name += " pair " + p.Pair
	if p.HeaderID != "" && p.HeaderID != c.ID {
		r.Mispaired = append(r.Mispaired, fmt.Sprintf("%s: its header has %s", name, p.HeaderID))
		return
	}
	if p.EchoID != "" && p.EchoID != c.ID {
		r.Mispaired = append(r.Mispaired, fmt.Sprintf("%s: has the response to %s", name, p.EchoID))
		return
	}
	if o := owner[p.In.SHA]; p.In.Kept > 0 && o != "" && o != c.ID && !p.In.Truncated {
		r.Mispaired = append(r.Mispaired, fmt.Sprintf("%s: has the body that %s got", name, o))
		return
	}
	bad := func(format string, args ...any) {
		r.Corrupt = append(r.Corrupt, name+": "+fmt.Sprintf(format, args...))
	}
	if p.Method != c.Method || p.Target != c.Target {
		bad("stored as %s %s", p.Method, p.Target)
	}
	if c.Aborted || c.Err != "" {
		// How far such an exchange came the client cannot know.
		if !slices.Contains(p.Flags, "incomplete") && !slices.Contains(p.Flags, "no_response") {
			bad("was broken off, and its flags %v do not say so", p.Flags)
		}
		return
	}
	if p.Status != c.Status {
		bad("status %d, the client got %d", p.Status, c.Status)
	}
	if p.Error != "" {
		bad("has the error %q", p.Error)
	}
	for _, side := range []struct {
		name string
		want Body
		have StoredBody
	}{{"request", c.Out, p.Out}, {"response", c.In, p.In}} {
		w, h := side.want, side.have
		if h.Size != w.Size {
			bad("%s body of %d bytes, the client had %d", side.name, h.Size, w.Size)
			continue
		}
		if w.Size > 0 && !bytes.Equal(h.Hash, w.XXH3[:]) {
			bad("%s body's hash %x is not %x", side.name, h.Hash, w.XXH3)
		}
		wantCut := w.Size > BodyLimit
		switch {
		case h.Truncated != wantCut:
			bad("%s body of %d bytes: truncated is %v", side.name, w.Size, h.Truncated)
		case wantCut && (h.Kept != BodyLimit || h.SHA != w.PrefixSHA):
			bad("%s body: the first %d bytes that were kept are not the client's", side.name, h.Kept)
		case !wantCut && (h.Kept != w.Size || h.SHA != w.SHA):
			bad("%s body: %d bytes were kept of %d, or they differ", side.name, h.Kept, w.Size)
		}
	}
	var want []string
	if max(c.Out.Size, c.In.Size) > BodyLimit {
		want = []string{"truncated"}
	}
	if !slices.Equal(p.Flags, want) {
		bad("has the flags %v, want %v", p.Flags, want)
	}
}
