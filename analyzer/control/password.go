package control

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
)

// Argon is the cost of a password's hash by Argon2id (RFC 9106).
type Argon struct {
	Memory  uint32 // KiB
	Time    uint32 // passes
	Threads uint8  // lanes
}

// defaultArgon is the second recommended choice of RFC 9106, section 4.
var defaultArgon = Argon{Memory: 64 << 10, Time: 3, Threads: 4}

// Bounds of what a stored hash may ask of this machine: it was written by
// somebody who could write the database, and is still no reason to take all
// memory.
const (
	maxMemory  = 1 << 20 // KiB
	maxTime    = 64
	maxThreads = 64
	saltLen    = 16
	hashLen    = 32
	maxPHC     = 512 // bytes
)

// valid: within the bounds above and those of RFC 9106, section 3.1.
func (a Argon) valid() bool {
	return a.Time >= 1 && a.Time <= maxTime && a.Threads >= 1 && a.Threads <= maxThreads &&
		a.Memory >= 8*uint32(a.Threads) && a.Memory <= maxMemory
}

// weaker: a is less than b in anything.
func (a Argon) weaker(b Argon) bool {
	return a.Memory < b.Memory || a.Time < b.Time || a.Threads < b.Threads
}

// phc is a hash with how it was made, in the PHC string format:
// $argon2id$v=19$m=65536,t=3,p=4$salt$hash, base64 without padding.
type phc struct {
	cost Argon
	salt []byte
	hash []byte
}

func (p phc) String() string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.cost.Memory, p.cost.Time, p.cost.Threads,
		b64.EncodeToString(p.salt), b64.EncodeToString(p.hash))
}

// parsePHC reads what phc.String wrote, and nothing else: parameters in
// another order or a number with a leading zero are not of ours.
func parsePHC(s string) (phc, error) {
	bad := func(what string) (phc, error) { return phc{}, fmt.Errorf("parse password hash: %s", what) }
	if len(s) > maxPHC {
		return bad("it is too long")
	}
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return bad("it is not of argon2id")
	}
	if parts[2] != "v="+strconv.Itoa(argon2.Version) {
		return bad("its version is not 19")
	}
	var p phc
	costs := strings.Split(parts[3], ",")
	if len(costs) != 3 {
		return bad("it does not say m, t and p")
	}
	var values [3]uint64
	for i, name := range []string{"m=", "t=", "p="} {
		digits, ok := strings.CutPrefix(costs[i], name)
		v, err := strconv.ParseUint(digits, 10, 32)
		if !ok || err != nil || strconv.FormatUint(v, 10) != digits {
			return bad("it does not say m, t and p in digits")
		}
		values[i] = v
	}
	if values[2] > maxThreads {
		return bad("its cost is out of bounds")
	}
	p.cost = Argon{Memory: uint32(values[0]), Time: uint32(values[1]), Threads: uint8(values[2])}
	if !p.cost.valid() {
		return bad("its cost is out of bounds")
	}
	b64 := base64.RawStdEncoding.Strict()
	var err error
	if p.salt, err = b64.DecodeString(parts[4]); err != nil || len(p.salt) < 8 || len(p.salt) > 64 {
		return bad("its salt is not 8 to 64 bytes of base64")
	}
	if p.hash, err = b64.DecodeString(parts[5]); err != nil || len(p.hash) < 16 || len(p.hash) > 64 {
		return bad("its hash is not 16 to 64 bytes of base64")
	}
	// DecodeString passes over line breaks.
	if p.String() != s {
		return bad("it is written in another way than ours")
	}
	return p, nil
}

// hashers bounds how many hashes are computed at once, as each takes its
// memory (64 MiB), and how many sign-ins may wait for that.
type hashers struct {
	running, queue chan struct{}
}

func newHashers() *hashers {
	return &hashers{running: make(chan struct{}, 2), queue: make(chan struct{}, 32)}
}

func (h *hashers) key(ctx context.Context, password string, salt []byte, cost Argon, n int) ([]byte, error) {
	select {
	case h.queue <- struct{}{}:
		defer func() { <-h.queue }()
	default:
		return nil, ErrBusy
	}
	select {
	case h.running <- struct{}{}:
		defer func() { <-h.running }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return argon2.IDKey([]byte(password), salt, cost.Time, cost.Memory, cost.Threads, uint32(n)), nil
}

// hashPassword is a fresh hash at the cost of today.
func (s *Store) hashPassword(ctx context.Context, password string) (string, error) {
	p := phc{cost: s.opt.Argon, salt: make([]byte, saltLen)}
	if err := s.random(p.salt); err != nil {
		return "", err
	}
	var err error
	if p.hash, err = s.hashers.key(ctx, password, p.salt, p.cost, hashLen); err != nil {
		return "", err
	}
	return p.String(), nil
}

// checkPassword tells whether the password is that of the hash. Without a hash
// (no such user, none set) it does the same work, and says no.
func (s *Store) checkPassword(ctx context.Context, password, hash string) (bool, error) {
	p := phc{cost: s.opt.Argon, salt: make([]byte, saltLen), hash: make([]byte, hashLen)}
	isSet := hash != ""
	if isSet {
		stored, err := parsePHC(hash)
		if err != nil {
			// Damage. The client may not learn from it that the name exists.
			s.opt.Log.Error("control store: a password's hash is damaged; set the password anew", "err", err)
			isSet = false
		} else {
			p = stored
		}
	}
	// What is longer than a password may be is none; its prefix costs the same.
	long := len(password) > maxPassword
	got, err := s.hashers.key(ctx, password[:min(len(password), maxPassword)], p.salt, p.cost, len(p.hash))
	if err != nil {
		return false, err
	}
	equal := subtle.ConstantTimeCompare(got, p.hash) == 1
	return isSet && equal && !long, nil
}

// Bounds of passwords.
const (
	minPassword = 12   // characters
	maxPassword = 1024 // bytes
)

// checkNewPassword says what is wrong with a password that somebody wants.
// Length is what counts (NIST SP 800-63B, section 5.1.1.2): no rules about
// kinds of characters.
func checkNewPassword(name, password string) error {
	invalid := func(problem string) error {
		return ErrInvalid{"password", problem, "at least 12 characters and at most 1,024 bytes, and not the name"}
	}
	switch {
	case !utf8.ValidString(password):
		return invalid("is not text")
	case utf8.RuneCountInString(password) < minPassword:
		return invalid("is too short")
	case len(password) > maxPassword:
		return invalid("is too long")
	case nameKey(password) == nameKey(name):
		return invalid("is the name")
	}
	return nil
}
