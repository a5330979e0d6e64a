package redact

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// Keys make tokens. The same value has the same token wherever the keys are
// the same, so that pairs still join by it; without them nobody can try values
// until a token fits.
type Keys struct {
	// secrets: the first makes tokens, the others made those of before.
	secrets [][]byte
}

// MinKeyBytes is how long a secret has to be.
const MinKeyBytes = 16

// ParseKeys reads keys as DLP_KEY holds them: one or more in base64, the
// newest first, commas between them. While a key is being changed, the old one
// stays behind the new one until nobody asks for its tokens any more.
func ParseKeys(s string) (*Keys, error) {
	k := new(Keys)
	for i, text := range strings.Split(s, ",") {
		text = strings.TrimRight(strings.TrimSpace(text), "=")
		if text == "" {
			return nil, fmt.Errorf("key %d is empty", i+1)
		}
		secret, err := base64.RawStdEncoding.DecodeString(text)
		if err != nil {
			secret, err = base64.RawURLEncoding.DecodeString(text)
		}
		if err != nil {
			return nil, fmt.Errorf("key %d is not base64", i+1) // without the key in it
		}
		if len(secret) < MinKeyBytes {
			return nil, fmt.Errorf("key %d has %d bytes: %d at least", i+1, len(secret), MinKeyBytes)
		}
		k.secrets = append(k.secrets, secret)
	}
	return k, nil
}

// NewKey makes a key as ParseKeys reads it.
func NewKey() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return base64.StdEncoding.EncodeToString(b)
}

// RandomKeys are keys that nobody else has: tokens join only with those of the
// same process.
func RandomKeys() *Keys {
	k, err := ParseKeys(NewKey())
	if err != nil {
		panic(err) // NewKey makes what ParseKeys reads
	}
	return k
}

// tokenChars is the length of a token's last part: 60 bits.
const tokenChars = 12

var tokenText = base32.NewEncoding("abcdefghijkmnpqrstuvwxyz23456789").WithPadding(base32.NoPadding)

// appendToken appends the token of a value. The type is not part of what is
// hashed: a value that two rules find is the same value.
func (k *Keys) appendToken(b []byte, kind string, value []byte) []byte {
	b = append(b, "REDACTED-"...)
	b = append(b, kind...)
	b = append(b, '-')
	return append(b, k.digest(k.secrets[0], value)...)
}

func (k *Keys) digest(secret, value []byte) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write(value)
	return tokenText.EncodeToString(mac.Sum(nil))[:tokenChars]
}

// Tokens are the last parts of the tokens that a value has or had, the newest
// key's first: who looks for a value in what is stored looks for these.
func (k *Keys) Tokens(value string) []string {
	all := make([]string, len(k.secrets))
	for i, s := range k.secrets {
		all[i] = k.digest(s, []byte(value))
	}
	return all
}

// errTooLong: HKDF gives 255 blocks.
var errTooLong = errors.New("value is too long to keep its format")

// appendAlike appends a stand-in of the same length, with digits for digits
// and letters of the same case for letters. A number that fulfils Luhn's check
// is given one that does.
func (k *Keys) appendAlike(b, value []byte, luhn bool) ([]byte, error) {
	if len(value) > 255*sha256.Size/2 {
		return b, errTooLong
	}
	stream, err := hkdf.Key(sha256.New, k.secrets[0], nil, "format\x00"+string(value), 2*len(value))
	if err != nil {
		return b, fmt.Errorf("derive stand-in: %w", err)
	}
	start := len(b)
	for i, c := range value {
		// Two bytes a character: the remainder is as good as even.
		n := int(stream[2*i])<<8 | int(stream[2*i+1])
		switch {
		case '0' <= c && c <= '9':
			c = '0' + byte(n%10)
		case 'a' <= c && c <= 'z':
			c = 'a' + byte(n%26)
		case 'A' <= c && c <= 'Z':
			c = 'A' + byte(n%26)
		}
		b = append(b, c)
	}
	if luhn {
		fixLuhn(b[start:])
	}
	return b, nil
}

// fixLuhn changes the last digit so that the number fulfils the check.
func fixLuhn(number []byte) {
	for i := len(number) - 1; i >= 0; i-- {
		if c := number[i]; '0' <= c && c <= '9' {
			for d := byte('0'); d <= '9'; d++ {
				if number[i] = d; luhnValid(number) {
					return
				}
			}
			return
		}
	}
}
