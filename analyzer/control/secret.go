package control

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
)

// alphabet of ids and secrets: lower case, no characters that need quotes in a
// shell, an env-file, a URL or a header.
var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

const (
	idBytes     = 10
	secretBytes = 32 // 256 bits
)

// digest is how tokens and secrets are stored. They are random and long: a
// plain hash tells nothing that could be tried.
func digest(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// A key is written weir_K_ID_SECRETCHECKSUM: K is the letter of its kind, ID
// names it in lists, SECRET opens, and CHECKSUM (CRC-32 of all before it) tells
// a typing mistake, and a string that only looks like a key, without a look
// into the database.
const keyPrefix = "weir_"

var (
	idLen       = base32Lower.EncodedLen(idBytes)
	secretLen   = base32Lower.EncodedLen(secretBytes)
	checksumLen = base32Lower.EncodedLen(4)
)

var errNotAKey = errors.New("not a key of Weir")

func formatKey(kind KeyKind, id, secret string) string {
	head := keyPrefix + string(kind.letter()) + "_" + id + "_" + secret
	return head + keyChecksum(head)
}

func keyChecksum(head string) string {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], crc32.ChecksumIEEE([]byte(head)))
	return base32Lower.EncodeToString(b[:])
}

// parseKey takes a key apart. What it returns nothing of is no key: nobody
// needs to be asked about it.
func parseKey(key string) (kind KeyKind, id string, err error) {
	rest, ok := strings.CutPrefix(key, keyPrefix)
	if !ok || len(rest) != 2+idLen+1+secretLen+checksumLen {
		return "", "", errNotAKey
	}
	for _, k := range keyKinds {
		if rest[0] == k.letter() {
			kind = k
		}
	}
	id = rest[2 : 2+idLen]
	secret := rest[2+idLen+1:]
	if kind == "" || rest[1] != '_' || rest[2+idLen] != '_' || !inAlphabet(id) || !inAlphabet(secret) {
		return "", "", errNotAKey
	}
	head := key[:len(key)-checksumLen]
	if keyChecksum(head) != key[len(head):] {
		return "", "", errNotAKey
	}
	return kind, id, nil
}

func inAlphabet(s string) bool {
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz234567") == ""
}

// random fills b.
func (s *Store) random(b []byte) error {
	if _, err := io.ReadFull(s.opt.Rand, b); err != nil {
		return fmt.Errorf("read random bytes: %w", err)
	}
	return nil
}

// randomText is n random bytes as text.
func (s *Store) randomText(n int) (string, error) {
	b := make([]byte, n)
	if err := s.random(b); err != nil {
		return "", err
	}
	return base32Lower.EncodeToString(b), nil
}
