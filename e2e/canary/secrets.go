package canary

import (
	"fmt"
	"math/rand/v2"
)

// Secret is a value that nobody may find again.
type Secret struct {
	Kind, Value string
	// Name is of the field that has it; empty for one that is told by its
	// shape wherever it stands.
	Name string
}

type maker struct{ *rand.Rand }

const (
	digits = "0123456789"
	upper  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	lower  = "abcdefghijklmnopqrstuvwxyz"
	hex    = "0123456789abcdef"
	word   = digits + upper + lower
)

func (m maker) from(alphabet string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[m.IntN(len(alphabet))]
	}
	return string(b)
}

// card is a number with Luhn's digit.
func (m maker) card(prefix string, n int) string {
	s := prefix + m.from(digits, n-1-len(prefix))
	sum := 0
	for i := range len(s) {
		d := int(s[len(s)-1-i] - '0')
		if i%2 == 0 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return s + fmt.Sprint((10-sum%10)%10)
}

// iban is a German account number with its check digits (ISO 7064).
func (m maker) iban() string {
	account := m.from(digits, 18)
	rest := 0
	for _, c := range account + "131400" { // D is 13, E is 14
		rest = (rest*10 + int(c-'0')) % 97
	}
	return fmt.Sprintf("DE%02d%s", 98-rest, account)
}

// Secrets makes 40 of them, new for each seed.
func Secrets(seed uint64) []Secret {
	m := maker{rand.New(rand.NewPCG(seed, 1))}
	card := m.card("4", 16)
	list := []Secret{
		{Kind: "card", Value: card},
		{Kind: "card in groups", Value: fmt.Sprintf("%s %s %s %s", card[:4], card[4:8], card[8:12], m.card(card[:12], 16)[12:])},
		{Kind: "card, amex", Value: m.card("37", 15)},
		{Kind: "iban", Value: m.iban()},
		{Kind: "ssn", Value: fmt.Sprintf("%03d-%02d-%04d", 100+m.IntN(500), 10+m.IntN(89), 1000+m.IntN(8999))},
		{Kind: "jwt", Value: "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI" + m.from(word, 30) + "." + m.from(word, 43)},
		{Kind: "private key", Value: "-----BEGIN RSA PRIVATE KEY-----" + m.from(word, 64) + "-----END RSA PRIVATE KEY-----"},
		{Kind: "aws", Value: "AKIA" + m.from(upper+"234567", 16)},
		{Kind: "github", Value: "ghp_" + m.from(word, 36)},
		{Kind: "github pat", Value: "github_pat_" + m.from(word, 60)},
		{Kind: "gitlab", Value: "glpat-" + m.from(word, 20)},
		{Kind: "slack", Value: "xoxb-" + m.from(digits, 12) + "-" + m.from(word, 24)},
		{Kind: "google", Value: "AIza" + m.from(word, 35)},
		{Kind: "stripe", Value: "sk_live_" + m.from(word, 24)},
		{Kind: "sendgrid", Value: "SG." + m.from(word, 22) + "." + m.from(word, 43)},
		{Kind: "twilio", Value: "SK" + m.from(hex, 32)},
		{Kind: "npm", Value: "npm_" + m.from(word, 36)},
		{Kind: "openai", Value: "sk-proj-" + m.from(word, 48)},
		{Kind: "vault", Value: "hvs." + m.from(word, 24)},
		{Kind: "shopify", Value: "shpat_" + m.from(hex, 32)},
		{Kind: "digitalocean", Value: "dop_v1_" + m.from(hex, 64)},
		{Kind: "databricks", Value: "dapi" + m.from(hex, 32)},
	}
	for _, name := range []string{
		"password", "passwd", "user_password", "passphrase", "client_secret", "secretKey", "privateKey", "api_key", "apiKey",
		"access_token", "refreshToken", "id_token", "session_id", "auth_token", "credentials", "csrf_token", "mfa_code", "ssn",
	} {
		list = append(list, Secret{Kind: name, Name: name, Value: "canary" + m.from(word, 18)})
	}
	return list
}
