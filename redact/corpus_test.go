package redact_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"math/big"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write RESULTS.md")

// sample is a labelled value: kind is what it is, empty for one that only
// looks like something. It stands below name, or "note"; secret is the part of
// it that has to go, where that is not for its kind's rule alone.
type sample struct{ kind, value, name, secret string }

type generator struct{ *rand.Rand }

func (g generator) from(alphabet string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[g.IntN(len(alphabet))]
	}
	return string(b)
}

const (
	digits = "0123456789"
	lower  = "abcdefghijklmnopqrstuvwxyz"
	upper  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	hexa   = "0123456789abcdef"
	word   = digits + lower + upper
)

func luhnDigit(number string) string {
	sum := 0
	for i := range len(number) {
		d := int(number[len(number)-1-i] - '0')
		if i%2 == 0 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return fmt.Sprint((10 - sum%10) % 10)
}

func (g generator) card() string {
	prefix := []struct {
		p string
		n int
	}{{"4", 16}, {"51", 16}, {"55", 16}, {"2221", 16}, {"2720", 16}, {"34", 15}, {"37", 15}, {"6011", 16}, {"65", 16}, {"3530", 16}, {"36", 14}, {"4", 13}, {"62", 19}}[g.IntN(13)]
	n := prefix.p + g.from(digits, prefix.n-len(prefix.p)-1)
	return n + luhnDigit(n)
}

func (g generator) grouped(number string) string {
	sep := []string{"", " ", "-"}[g.IntN(3)]
	var parts []string
	for len(number) > 4 {
		parts, number = append(parts, number[:4]), number[4:]
	}
	return strings.Join(append(parts, number), sep)
}

func (g generator) iban(valid bool) string {
	c := []struct {
		country string
		bban    string
	}{
		{"DE", g.from(digits, 18)},
		{"GB", g.from(upper, 4) + g.from(digits, 14)},
		{"FR", g.from(digits, 23)},
		{"NL", g.from(upper, 4) + g.from(digits, 10)},
		{"ES", g.from(digits, 20)},
		{"CH", g.from(digits, 17)},
		{"NO", g.from(digits, 11)},
	}[g.IntN(7)]
	var text strings.Builder
	for _, r := range c.bban + c.country + "00" {
		if r >= 'A' {
			fmt.Fprint(&text, r-'A'+10)
		} else {
			text.WriteRune(r)
		}
	}
	n, _ := new(big.Int).SetString(text.String(), 10)
	check := 98 - new(big.Int).Mod(n, big.NewInt(97)).Int64()
	if !valid {
		check = (check+int64(g.IntN(90))+1)%97 + 2
		if check == 98-new(big.Int).Mod(n, big.NewInt(97)).Int64() {
			check++
		}
	}
	iban := fmt.Sprintf("%s%02d%s", c.country, check, c.bban)
	if g.IntN(2) == 0 {
		return iban
	}
	return g.spaced(iban)
}

func (g generator) spaced(s string) string {
	var parts []string
	for len(s) > 4 {
		parts, s = append(parts, s[:4]), s[4:]
	}
	return strings.Join(append(parts, s), " ")
}

func (g generator) uuid() string {
	h := g.from(hexa, 32)
	return h[:8] + "-" + h[8:12] + "-4" + h[13:16] + "-a" + h[17:20] + "-" + h[20:]
}

// corpus makes labelled values of every kind, and as many look-alikes.
func corpus() []sample {
	g := generator{rand.New(rand.NewPCG(7, 11))}
	var all []sample
	add := func(n int, kind string, f func() string) {
		for range n {
			all = append(all, sample{kind: kind, value: f()})
		}
	}
	const each = 120
	add(each, "CARD", func() string { return g.grouped(g.card()) })
	add(each, "IBAN", func() string { return g.iban(true) })
	add(each, "SSN", func() string {
		return fmt.Sprintf("%03d-%02d-%04d", 1+g.IntN(665), 1+g.IntN(99), 1+g.IntN(9999))
	})
	add(each, "JWT", func() string {
		return "eyJ" + g.from(word+"-_", 20+g.IntN(40)) + ".eyJ" + g.from(word+"-_", 30+g.IntN(200)) + "." + g.from(word+"-_", 43)
	})
	add(each, "PASSWORD", func() string {
		return "postgres://user:" + g.from(word+"-._~!", 8+g.IntN(20)) + "@db.internal:5432/shop"
	})
	add(each, "EMAIL", func() string {
		return g.from(lower+".", 1) + g.from(lower+digits, 1+g.IntN(12)) + "@" + g.from(lower, 3+g.IntN(9)) + ".example"
	})
	add(each, "PHONE", func() string { return "+" + g.from("123456789", 1) + g.from(digits, 9+g.IntN(4)) })
	add(20, "PRIVATE-KEY", func() string {
		return "-----BEGIN EC PRIVATE KEY-----\n" + g.from(word+"+/", 64) + "\n" + g.from(word+"+/", 40) + "\n-----END EC PRIVATE KEY-----"
	})
	for kind, f := range map[string]func() string{
		"AWS-KEY":          func() string { return "AKIA" + g.from(upper+"234567", 16) },
		"GITHUB-TOKEN":     func() string { return "ghp_" + g.from(word, 36) },
		"GITLAB-TOKEN":     func() string { return "glpat-" + g.from(word+"-_", 20) },
		"SLACK-TOKEN":      func() string { return "xoxb-" + g.from(digits, 12) + "-" + g.from(digits, 12) + "-" + g.from(word, 24) },
		"GOOGLE-KEY":       func() string { return "AIza" + g.from(word+"-_", 35) },
		"STRIPE-KEY":       func() string { return "sk_live_" + g.from(word, 24) },
		"SENDGRID-KEY":     func() string { return "SG." + g.from(word, 22) + "." + g.from(word, 43) },
		"TWILIO-KEY":       func() string { return "SK" + g.from(hexa, 32) },
		"NPM-TOKEN":        func() string { return "npm_" + g.from(word, 36) },
		"OPENAI-KEY":       func() string { return "sk-proj-" + g.from(word, 48) },
		"VAULT-TOKEN":      func() string { return "hvs." + g.from(word, 24) },
		"HF-TOKEN":         func() string { return "hf_" + g.from(lower+upper, 34) },
		"MAILGUN-KEY":      func() string { return "key-" + g.from(hexa, 32) },
		"SHOPIFY-TOKEN":    func() string { return "shpat_" + g.from(hexa, 32) },
		"DATABRICKS-TOKEN": func() string { return "dapi" + g.from(hexa, 32) },
	} {
		add(20, kind, f)
	}
	n := len(all)
	looks := []func() string{
		func() string { c := g.card(); return g.grouped(c[:len(c)-1] + string('0'+(c[len(c)-1]-'0'+1)%10)) },
		func() string { return g.iban(false) },
		func() string {
			return []string{"000-12-3456", "666-12-3456", "912-34-5678", "123-00-4567", "123-45-0000"}[g.IntN(5)]
		},
		g.uuid,
		func() string { return g.from(hexa, 40) },
		func() string { return g.from(hexa, 64) },
		func() string { return fmt.Sprint(1_700_000_000_000 + g.Int64N(100_000_000_000)) },
		func() string { return fmt.Sprint(1_700_000_000_000_000_000 + g.Int64N(100_000_000_000_000_000)) },
		func() string {
			return fmt.Sprintf("2026-%02d-%02d %02d:%02d:%02d", 1+g.IntN(12), 1+g.IntN(28), g.IntN(24), g.IntN(60), g.IntN(60))
		},
		func() string { return fmt.Sprintf("%d.%d.%d.%d", g.IntN(256), g.IntN(256), g.IntN(256), g.IntN(256)) },
		func() string { return fmt.Sprintf("%d.%d.%d-rc.%d", g.IntN(30), g.IntN(30), g.IntN(30), g.IntN(9)) },
		func() string { return "AKIA" + g.from(upper, 8) },
		func() string { return "ghp_" + g.from(word, 12) },
		func() string { return "sk_" + g.from(lower, 6) + "_" + g.from(lower, 9) },
		func() string { return "eyJ" + g.from(word, 5) },
		func() string { return "https://shop.example/a/" + g.from(lower, 6) + "?page=" + g.from(digits, 2) },
		func() string { return g.from(lower, 5) + " at " + g.from(lower, 6) + " dot example" },
		func() string { return "order " + g.from(digits, 8) + ", item " + g.from(digits, 5) },
		func() string { return g.from(digits, 3) + "-" + g.from(digits, 4) },
		func() string { return "pretask-skeleton-" + g.from(lower, 20) },
	}
	for len(all) < 2*n || len(all) < 2200 {
		all = append(all, sample{value: looks[len(all)%len(looks)]()})
	}
	return all
}

// TestDetectors holds the detectors to the labelled values: of those that are
// structured 99 in 100 are found, and of look-alikes at most 1 in 1000 is taken
// for something.
func TestDetectors(t *testing.T) {
	type tally struct{ of, found, wrong int }
	tallies := map[string]*tally{}
	get := func(kind string) *tally {
		if tallies[kind] == nil {
			tallies[kind] = new(tally)
		}
		return tallies[kind]
	}
	r := with(t, "extends: standard+pii\n")
	values := corpus()
	values = append(values, generator{rand.New(rand.NewPCG(3, 5))}.sharedSamples(t, 10)...)
	looks, taken := 0, 0
	for _, s := range values {
		p := post("application/json", `{`+string(must(json.Marshal(cmp.Or(s.name, "note"))))+`:`+string(must(json.Marshal(s.value)))+`}`)
		if err := r.Redact(p); err != nil {
			t.Fatalf("%s: %v", s.value, err)
		}
		var kinds []string
		for _, rc := range p.GetRedactions() {
			kinds = append(kinds, rc.GetType())
		}
		if s.kind == "" {
			looks++
			if len(kinds) > 0 {
				taken++
				t.Logf("look-alike %s is taken for %v", s.value, kinds)
				get(kinds[0]).wrong++
			}
			continue
		}
		get(s.kind).of++
		if s.secret != "" {
			// Several rules know some of these shapes: what counts is that it is gone.
			quoted := string(must(json.Marshal(s.secret)))
			if !bytes.Contains(p.GetRequest().GetBody(), []byte(quoted[1:len(quoted)-1])) {
				get(s.kind).found++
			} else {
				t.Logf("%s %s=%s is left: %v", s.kind, s.name, s.value, kinds)
			}
		} else if slices.Contains(kinds, s.kind) {
			get(s.kind).found++
		} else {
			t.Logf("%s %s is taken for %v", s.kind, s.value, kinds)
			for _, k := range kinds {
				get(k).wrong++
			}
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# What the detectors find\n\n%d labelled values, %d of them look-alikes, made by `corpus_test.go` with a fixed seed;\n`standard+pii`. Written by `go test ./redact -run TestDetectors -update`.\n\n", len(values), looks)
	b.WriteString("| type | values | found | recall | others taken for it | precision |\n|---|---|---|---|---|---|\n")
	kinds := make([]string, 0, len(tallies))
	for k := range tallies {
		kinds = append(kinds, k)
	}
	slices.Sort(kinds)
	for _, k := range kinds {
		c := tallies[k]
		recall, precision := 1.0, 1.0
		if c.of > 0 {
			recall = float64(c.found) / float64(c.of)
		}
		if c.found+c.wrong > 0 {
			precision = float64(c.found) / float64(c.found+c.wrong)
		}
		fmt.Fprintf(&b, "| %s | %d | %d | %.4f | %d | %.4f |\n", k, c.of, c.found, recall, c.wrong, precision)
		if recall < 0.99 {
			t.Errorf("%s: recall %.4f", k, recall)
		}
	}
	fmt.Fprintf(&b, "\nOf %d look-alikes %d were taken for something (%.3f %%).\n", looks, taken, 100*float64(taken)/float64(looks))
	if float64(taken) > 0.001*float64(looks) {
		t.Errorf("%d of %d look-alikes are taken for something", taken, looks)
	}
	t.Log("\n" + b.String())
	if *update {
		if err := os.WriteFile("RESULTS.md", []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
