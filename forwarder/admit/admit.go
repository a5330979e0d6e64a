// Package admit knows which proxies may push: by tokens that a file lists, or
// by the names in their certificates, and under which ids.
//
// A line of the file is a name, a space, and a token of 16 bytes or more or
// what SHA-256 makes of it:
//
//	checkout-7d9f  0c4fd1…
//	payments-*     sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
//
// The name is a proxy's id (its APP_POD_NAME) or a pattern of such, in which
// each * stands for any text. A name or a token may be on several lines. What
// is behind a # at the beginning of a line is a comment.
package admit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/weir-capture/weir/internal/filewatch"
	"github.com/weir-capture/weir/internal/grpcdoor"
)

const (
	// maxFile bounds the file, in bytes, and maxName a name in it.
	maxFile = 4 << 20
	maxName = 253
	// minToken is what cannot be found by trying, in bytes.
	minToken = 16
	maxToken = 512
	// maxMistakes is how many of a file are told of at once.
	maxMistakes = 10
	hashed      = "sha256:"
)

// List is what a file says: by the hash of a token the names that it is for.
type List struct {
	names map[[sha256.Size]byte][]string
}

// Parse reads a list. Its error has a line for each mistake, with the line's
// number and never a token.
func Parse(data []byte) (*List, error) {
	l := &List{names: map[[sha256.Size]byte][]string{}}
	var mistakes []error
	n := 0
	for line := range bytes.Lines(data) {
		n++
		text := strings.TrimSpace(string(line))
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		if err := l.add(text); err != nil {
			if len(mistakes) == maxMistakes {
				mistakes = append(mistakes, errors.New("and more"))
				break
			}
			mistakes = append(mistakes, fmt.Errorf("line %d: %w", n, err))
		}
	}
	if len(mistakes) > 0 {
		return nil, errors.Join(mistakes...)
	}
	return l, nil
}

func (l *List) add(text string) error {
	words := strings.Fields(text)
	if len(words) != 2 || !utf8.ValidString(text) {
		return errors.New("want a name and a token, with a space between them")
	}
	name, token := words[0], words[1]
	if len(name) > maxName {
		return fmt.Errorf("a name of %d bytes, at most %d", len(name), maxName)
	}
	var sum [sha256.Size]byte
	switch digits, is := strings.CutPrefix(token, hashed); {
	case is:
		b, err := hex.DecodeString(digits)
		if err != nil || len(b) != sha256.Size {
			return fmt.Errorf("behind %q want 64 hexadecimal digits", hashed)
		}
		sum = [sha256.Size]byte(b)
	case len(token) < minToken || len(token) > maxToken:
		return fmt.Errorf("a token of %d bytes, want %d to %d", len(token), minToken, maxToken)
	default:
		sum = sha256.Sum256([]byte(token))
	}
	l.names[sum] = append(l.names[sum], name)
	return nil
}

// File is a list that follows its file.
type File struct {
	list  atomic.Pointer[List]
	watch *filewatch.Watcher
}

// Open reads the file; changed is called when it was read again. It starts
// nothing: Run follows the file. A list that makes no sense changes nothing.
func Open(path string, changed func(), log *slog.Logger) (*File, error) {
	f := &File{}
	first := true
	take := func(b []byte) error {
		l, err := Parse(b)
		if err != nil {
			return err
		}
		f.list.Store(l)
		if !first {
			log.Info("Took a new list of tokens for proxies", slog.String("file", path), slog.Int("tokens", len(l.names)))
			changed()
		}
		first = false
		return nil
	}
	fail := func(err error) {
		log.Warn("Could not take a new list of tokens for proxies; the one from before stays in use",
			slog.String("file", path), slog.String("error", err.Error()))
	}
	var err error
	if f.watch, err = filewatch.Watch(path, maxFile, take, fail); err != nil {
		return nil, err
	}
	return f, nil
}

// Run follows the file until ctx ends.
func (f *File) Run(ctx context.Context, reload <-chan os.Signal) error {
	return f.watch.Run(ctx, reload)
}

// Token says whose a token is. What is compared are hashes: how long it takes
// says nothing about the tokens that there are.
func (f *File) Token(_ context.Context, token string) (grpcdoor.Identity, error) {
	sum := sha256.Sum256([]byte(token))
	names := f.list.Load().names[sum]
	if len(names) == 0 {
		return grpcdoor.Identity{}, grpcdoor.ErrDenied
	}
	return grpcdoor.Identity{ID: idOf(sum), Name: strings.Join(names, " ")}, nil
}

// idOf names a token by its hash.
func idOf(sum [sha256.Size]byte) string { return "token:" + hex.EncodeToString(sum[:]) }

// Certificate says whose a certificate is that was verified.
func Certificate(c *x509.Certificate) (grpcdoor.Identity, error) {
	name := grpcdoor.CertName(c)
	if name == "" || len(name) > maxName || len(strings.Fields(name)) != 1 {
		return grpcdoor.Identity{}, grpcdoor.ErrDenied
	}
	return grpcdoor.Identity{ID: "cert:" + name, Name: name}, nil
}

// May says whether an identity may push as a proxy of this id. One without an
// id of its own, where nobody asks for any, may push as everybody.
func May(id grpcdoor.Identity, proxyID string) bool {
	if id.ID == "" {
		return true
	}
	for name := range strings.FieldsSeq(id.Name) {
		if matches(name, proxyID) {
			return true
		}
	}
	return false
}

// matches says whether a text fits a pattern.
func matches(pattern, text string) bool {
	first, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == text
	}
	text, ok := strings.CutPrefix(text, first)
	if !ok {
		return false
	}
	parts := strings.Split(rest, "*")
	last := parts[len(parts)-1]
	for _, part := range parts[:len(parts)-1] {
		at := strings.Index(text, part)
		if at < 0 {
			return false
		}
		text = text[at+len(part):]
	}
	return strings.HasSuffix(text, last)
}
