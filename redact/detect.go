package redact

import (
	"bytes"
	"encoding/base64"
	"math"
)

// detector finds one kind of value by its shape.
type detector struct {
	name, kind string
	// keywords are texts, in lower case, of which every match has one. But for
	// a detector that is whole every match begins there, or at a place that
	// find knows from there.
	keywords []string
	// find looks for a match in v that begins at the keyword's place (or
	// shortly before), and says where the part is that has to go. A detector
	// that is whole is given all of v.
	find  func(v []byte, at int) (from, to int, ok bool)
	whole bool
	// once: there is at most one match.
	once bool
	// alone: nothing is found where a letter or digit goes before a keyword
	// that begins with one.
	alone bool
	// digits: it is tried at numbers instead of keywords.
	digits bool
	// long: it is tried at the beginning of long runs of letters, digits and
	// - _ + /, for shapes whose keyword would be found in many a word.
	long  bool
	valid func([]byte) bool
}

// builtin are the detectors that rules name. The shapes are those that the
// issuers document.
func builtin() map[string]*detector {
	all := map[string]*detector{}
	for _, d := range []*detector{
		{name: "card", kind: "CARD", digits: true, find: findCard},
		{name: "ssn", kind: "SSN", digits: true, find: findSSN},
		{name: "iban", kind: "IBAN", digits: true, find: findIBAN},
		{name: "phone", kind: "PHONE", digits: true, find: findPhone},
		{name: "email", kind: "EMAIL", keywords: []string{"@"}, find: findEmail},
		{name: "jwt", kind: "JWT", keywords: []string{"eyj"}, find: findJWT},
		{name: "private_key", kind: "PRIVATE-KEY", keywords: []string{"private key"}, find: findPrivateKey},
		{name: "url_password", kind: "PASSWORD", keywords: []string{"://"}, find: findUserinfo},
	} {
		all[d.name] = d
	}
	for _, s := range shapes {
		all[s.name] = s.detector()
	}
	return all
}

// shape is a key that can be told by how it begins.
type shape struct {
	name, kind string
	// keywords; without them it is tried at long runs.
	keywords []string
	// pattern matches at the keyword; its group 1, if there is one, is what
	// has to go.
	pattern string
	random  bool
}

var shapes = []shape{
	{"aws_key_id", "AWS-KEY", []string{"akia", "asia", "abia", "acca"}, `(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b`, false},
	{"github_token", "GITHUB-TOKEN", []string{"ghp_", "gho_", "ghu_", "ghs_", "ghr_"}, `gh[pousr]_[A-Za-z0-9]{36,}`, false},
	{"github_pat", "GITHUB-TOKEN", []string{"github_pat_"}, `github_pat_[A-Za-z0-9_]{22,}`, false},
	{"gitlab_token", "GITLAB-TOKEN", []string{"glpat-", "gldt-", "glrt-", "glptt-", "glcbt-", "glft-", "glsoat-"}, `gl(?:pat|dt|rt|ptt|cbt|ft|soat)-[A-Za-z0-9_.\-]{20,}`, false},
	{"slack_token", "SLACK-TOKEN", []string{"xoxb", "xoxp", "xoxa", "xoxr", "xoxs", "xoxe", "xapp"}, `(?:xox[bpaers](?:\.xox[bp])?|xapp)-[A-Za-z0-9\-]{10,}`, false},
	{"slack_webhook", "SLACK-WEBHOOK", []string{"hooks.slack.com"}, `hooks\.slack\.com/(?:services|workflows|triggers)/([A-Za-z0-9+/]{20,})`, false},
	{"google_api_key", "GOOGLE-KEY", []string{"aiza"}, `AIza[A-Za-z0-9_\-]{35}`, false},
	{"google_oauth", "GOOGLE-TOKEN", []string{"ya29."}, `ya29\.[A-Za-z0-9_\-]{20,}`, false},
	{"google_client_secret", "GOOGLE-SECRET", []string{"gocspx-"}, `GOCSPX-[A-Za-z0-9_\-]{20,60}`, false},
	{"stripe_key", "STRIPE-KEY", []string{"sk_live_", "sk_test_", "rk_live_", "rk_test_", "whsec_"}, `(?:(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{10,}|whsec_[A-Za-z0-9+/=]{24,64})`, false},
	{"twilio_key", "TWILIO-KEY", nil, `SK[0-9a-f]{32}\b`, false},
	{"sendgrid_key", "SENDGRID-KEY", []string{"sg."}, `SG\.[A-Za-z0-9_\-]{16,32}\.[A-Za-z0-9_\-]{32,64}`, false},
	{"mailgun_key", "MAILGUN-KEY", nil, `key-[0-9a-f]{32}\b`, false},
	{"npm_token", "NPM-TOKEN", nil, `npm_[A-Za-z0-9]{36}`, false},
	{"pypi_token", "PYPI-TOKEN", []string{"pypi-ageichlwas5vcmc"}, `pypi-AgEIcHlwaS5vcmc[A-Za-z0-9_\-]{50,}`, false},
	{"docker_pat", "DOCKER-TOKEN", []string{"dckr_pat_", "dckr_oat_"}, `dckr_(?:pat|oat)_[A-Za-z0-9_\-]{27,32}`, false},
	{"digitalocean_token", "DIGITALOCEAN-TOKEN", []string{"dop_v1_", "doo_v1_", "dor_v1_"}, `do[opr]_v1_[a-f0-9]{64}`, false},
	{"openai_key", "OPENAI-KEY", []string{"sk-proj-", "sk-svcacct-", "sk-admin-", "sk-ant-"}, `sk-(?:proj|svcacct|admin|ant)-[A-Za-z0-9_\-]{20,}`, false},
	{"huggingface_token", "HF-TOKEN", nil, `hf_[A-Za-z]{34}\b`, false},
	{"shopify_token", "SHOPIFY-TOKEN", []string{"shpat_", "shpca_", "shppa_", "shpss_"}, `shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}`, false},
	{"square_token", "SQUARE-TOKEN", []string{"sq0atp", "sq0csp", "eaaa"}, `(?:sq0(?:atp|csp)-[A-Za-z0-9_\-]{22,43}|EAAA[A-Za-z0-9_\-]{60})`, false},
	{"vault_token", "VAULT-TOKEN", []string{"hvs.", "hvb.", "hvr."}, `hv[sbr]\.[A-Za-z0-9_\-]{24,}`, false},
	{"terraform_token", "TERRAFORM-TOKEN", []string{"atlasv1"}, `([A-Za-z0-9]{14}\.)?atlasv1\.[A-Za-z0-9_\-=]{60,70}`, false},
	{"databricks_token", "DATABRICKS-TOKEN", []string{"dapi"}, `dapi[a-f0-9]{32}(?:-\d)?\b`, false},
	{"linear_key", "LINEAR-KEY", []string{"lin_api_"}, `lin_api_[A-Za-z0-9]{40}`, false},
	{"grafana_token", "GRAFANA-TOKEN", nil, `(?:glsa_[A-Za-z0-9]{32}_[A-Fa-f0-9]{8}|glc_[A-Za-z0-9+/]{32,}={0,2})`, false},
	{"newrelic_key", "NEWRELIC-KEY", []string{"nrak-", "nrii-"}, `NR(?:AK|II)-[A-Za-z0-9_\-]{27,36}`, false},
	{"postman_key", "POSTMAN-KEY", []string{"pmak-"}, `PMAK-[a-f0-9]{24}-[a-f0-9]{34}`, false},
	{"telegram_token", "TELEGRAM-TOKEN", []string{":aa"}, `:AA[A-Za-z0-9_\-]{32,34}\b`, true},
	{"azure_storage_key", "AZURE-KEY", []string{"accountkey="}, `(?i:accountkey)=([A-Za-z0-9+/]{86}==)`, false},
	{"azure_sas", "AZURE-SAS", []string{"sig="}, `sig=([A-Za-z0-9%+/]{43,70}(?:%3D|=)?)`, true},
	{"age_key", "AGE-KEY", []string{"age-secret-key-1"}, `AGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}`, false},
}

func (s shape) detector() *detector {
	d := &detector{name: s.name, kind: s.kind, keywords: s.keywords, long: len(s.keywords) == 0, find: anchored(s.pattern)}
	d.alone = !d.long
	if s.random {
		d.valid = looksRandom
	}
	return d
}

func digit(c byte) bool { return '0' <= c && c <= '9' }
func upper(c byte) bool { return 'A' <= c && c <= 'Z' }
func alnum(c byte) bool { return digit(c) || upper(c) || 'a' <= c && c <= 'z' }

// alone reports whether no letter or digit is beside v[from:to], and no
// decimal point with digits: then it is a part of something else.
func alone(v []byte, from, to int) bool {
	if from > 0 && (alnum(v[from-1]) || v[from-1] == '.' && from > 1 && digit(v[from-2])) {
		return false
	}
	return to == len(v) || !alnum(v[to]) && (v[to] != '.' || to+1 == len(v) || !digit(v[to+1]))
}

// findCard finds payment card numbers: the issuers' ranges and lengths
// (ISO/IEC 7812), and Luhn's check digit.
func findCard(v []byte, at int) (int, int, bool) {
	var buf [20]byte
	n, end := buf[:0], at
	for i := at; i < len(v) && len(n) < 20; i++ {
		c := v[i]
		if digit(c) {
			n, end = append(n, c), i+1
		} else if (c != ' ' && c != '-') || i != end {
			break
		}
		// Groups may be followed by other numbers: the longest that fits is
		// looked for from here back.
	}
	for ; len(n) >= 13; n = n[:len(n)-1] {
		for end > at && !digit(v[end-1]) {
			end--
		}
		if cardLength(n) && luhnValid(n) && alone(v, at, end) && !same(n) {
			return at, end, true
		}
		end--
	}
	return 0, 0, false
}

func same(n []byte) bool { return bytes.Count(n, n[:1]) == len(n) }

// cardLength reports whether the issuer that a number's beginning names makes
// numbers of this length.
func cardLength(n []byte) bool {
	p := 0
	for _, c := range n[:6] {
		p = p*10 + int(c-'0')
	}
	two, three, four := p/10_000, p/1000, p/100
	l := len(n)
	switch {
	case n[0] == '4':
		return l == 13 || l == 16 || l == 19
	case two >= 51 && two <= 55, four >= 2221 && four <= 2720:
		return l == 16
	case two == 34 || two == 37:
		return l == 15
	case three >= 300 && three <= 305, two == 36, two == 38, two == 39:
		return l == 14 || l == 16
	case four == 6011, two == 65, three >= 644 && three <= 649, two == 62, two == 60, two == 81:
		return l >= 16 && l <= 19
	case four >= 3528 && four <= 3589:
		return l >= 16 && l <= 19
	case two == 50, two >= 56 && two <= 58, two == 63, two == 67:
		return l >= 13 && l <= 19 // Maestro
	}
	return false
}

// luhnValid checks the last digit (ISO/IEC 7812-1, annex B); what is no digit
// is passed over.
func luhnValid(number []byte) bool {
	sum, double, any := 0, false, false
	for i := len(number) - 1; i >= 0; i-- {
		c := number[i]
		if !digit(c) {
			continue
		}
		d := int(c - '0')
		if double {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum, double, any = sum+d, !double, true
	}
	return any && sum%10 == 0
}

// findSSN finds United States social security numbers as they are written,
// 3-2-4, without those that are never given out.
func findSSN(v []byte, at int) (int, int, bool) {
	if len(v)-at < 11 {
		return 0, 0, false
	}
	s := v[at : at+11]
	for i, c := range s {
		if i == 3 || i == 6 {
			if c != '-' && c != ' ' || c != s[3] {
				return 0, 0, false
			}
		} else if !digit(c) {
			return 0, 0, false
		}
	}
	area := string(s[:3])
	if area == "000" || area == "666" || s[0] == '9' || string(s[4:6]) == "00" || string(s[7:]) == "0000" {
		return 0, 0, false
	}
	if !alone(v, at, at+11) || at > 0 && v[at-1] == '-' || at+11 < len(v) && v[at+11] == '-' {
		return 0, 0, false
	}
	return at, at + 11, true
}

// findIBAN finds account numbers (ISO 13616): the check digits fulfil ISO
// 7064, mod 97-10. at is the first digit, behind the country.
func findIBAN(v []byte, at int) (int, int, bool) {
	from := at - 2
	if from < 0 || len(v)-from < 15 || !upper(v[from]) || !upper(v[from+1]) || !digit(v[at+1]) {
		return 0, 0, false
	}
	if from > 0 && alnum(v[from-1]) {
		return 0, 0, false
	}
	var buf [34]byte
	n, end := buf[:0], from
	for i := from; i < len(v) && len(n) < 34; i++ {
		c := v[i]
		if digit(c) || upper(c) {
			n, end = append(n, c), i+1
		} else if c != ' ' || i != end {
			break
		}
	}
	if end < len(v) && alnum(v[end]) {
		return 0, 0, false
	}
	// Text may go on in capitals behind a space: shorter ones are tried as
	// well, group by group.
	for len(n) >= 15 {
		if mod97(n) == 1 {
			return from, end, true
		}
		cut := bytes.LastIndexByte(v[from:end], ' ')
		if cut < 0 {
			break
		}
		for i := from + cut; i < end; i++ {
			if v[i] != ' ' {
				n = n[:len(n)-1]
			}
		}
		end = from + cut
	}
	return 0, 0, false
}

func mod97(n []byte) int {
	rest := 0
	for i := range n {
		c := n[(i+4)%len(n)]
		if digit(c) {
			rest = (rest*10 + int(c-'0')) % 97
		} else {
			rest = (rest*100 + int(c-'A') + 10) % 97
		}
	}
	return rest
}

// findPhone finds telephone numbers in international form (E.164): a plus and
// 8 to 15 digits.
func findPhone(v []byte, at int) (int, int, bool) {
	if at == 0 || v[at-1] != '+' || v[at] == '0' || at > 1 && alnum(v[at-2]) {
		return 0, 0, false
	}
	n, end := 0, at
	for i := at; i < len(v) && n <= 15; i++ {
		c := v[i]
		if digit(c) {
			n, end = n+1, i+1
		} else if bytes.IndexByte([]byte(" -()."), c) < 0 || i-end > 1 {
			break
		}
	}
	if n < 8 || n > 15 || end < len(v) && alnum(v[end]) {
		return 0, 0, false
	}
	return at - 1, end, true
}

// findEmail finds addresses as RFC 5321 writes them without quotes.
func findEmail(v []byte, at int) (int, int, bool) {
	local := func(c byte) bool { return alnum(c) || bytes.IndexByte([]byte("!#$%&'*+/=?^_`{|}~.-"), c) >= 0 }
	from, to := at, at+1
	for from > 0 && at-from < 64 && local(v[from-1]) {
		from--
	}
	// In a URL or a form the address begins behind these.
	if i := bytes.LastIndexAny(v[from:at], "/=?&"); i >= 0 {
		from += i + 1
	}
	// What goes before the host of a URL is no mailbox.
	before := v[max(0, from-128):from]
	if i := bytes.LastIndex(before, []byte("://")); i >= 0 && !bytes.ContainsAny(before[i+3:], "/?# \t\n") {
		return 0, 0, false
	}
	dot := false
	for to < len(v) && to-at < 255 && (alnum(v[to]) || v[to] == '-' || v[to] == '.') {
		dot = dot || v[to] == '.' && to+1 < len(v) && alnum(v[to+1])
		to++
	}
	for to > at+1 && !alnum(v[to-1]) {
		to--
	}
	if from == at || !dot {
		return 0, 0, false
	}
	return from, to, true
}

// findJWT finds JSON Web Tokens in compact form (RFC 7519, RFC 7515): two or
// more parts of base64url, the first an object in JSON.
func findJWT(v []byte, at int) (int, int, bool) {
	if string(v[at:min(at+3, len(v))]) != "eyJ" {
		return 0, 0, false
	}
	end, dots := at, 0
	for end < len(v) && (urlChar(v[end]) || v[end] == '.' && dots < 4) {
		if v[end] == '.' {
			dots++
		}
		end++
	}
	for end > at && v[end-1] == '.' && dots > 2 {
		end, dots = end-1, dots-1
	}
	first := bytes.IndexByte(v[at:end], '.')
	if dots < 1 || first < 10 || end-at < 20 {
		return 0, 0, false
	}
	// In the middle of letters it is one if it reads as one: jwt_eyJ….
	if at > 0 && urlChar(v[at-1]) && !isHeader(v[at:at+first]) {
		return 0, 0, false
	}
	return at, end, true
}

// isHeader reports whether some base64url is a JSON object, as the first part
// of a token is.
func isHeader(v []byte) bool {
	if len(v) > 4096 {
		return false
	}
	plain, err := base64.RawURLEncoding.AppendDecode(nil, v)
	return err == nil && looksJSON(plain)
}

func urlChar(c byte) bool { return alnum(c) || c == '-' || c == '_' }

// findPrivateKey finds keys in PEM (RFC 7468), from the first line to the
// last, or to the end of what was kept. at is where "PRIVATE KEY" stands.
func findPrivateKey(v []byte, at int) (int, int, bool) {
	from := bytes.LastIndex(v[max(0, at-40):at], []byte("-----BEGIN"))
	if from < 0 {
		return 0, 0, false
	}
	from += max(0, at-40)
	if i := bytes.Index(v[at:], []byte("-----END")); i >= 0 {
		end := at + i + len("-----END")
		if j := bytes.Index(v[end:min(len(v), end+60)], []byte("-----")); j >= 0 {
			return from, end + j + 5, true
		}
		return from, end, true
	}
	return from, len(v), true
}

// findUserinfo finds the password of a URL (RFC 3986, section 3.2.1). at is
// where "://" stands.
func findUserinfo(v []byte, at int) (int, int, bool) {
	rest := v[at+3:]
	if i := bytes.IndexAny(rest, "/?# \t\r\n\"'<>\\"); i >= 0 {
		rest = rest[:i]
	}
	i := bytes.LastIndexByte(rest, '@')
	if i <= 0 {
		return 0, 0, false
	}
	from := at + 3
	if j := bytes.IndexByte(rest[:i], ':'); j >= 0 {
		from += j + 1
	}
	if from == at+3+i {
		return 0, 0, false
	}
	return from, at + 3 + i, true
}

// looksRandom tells keys from words and examples.
func looksRandom(v []byte) bool { return entropy(v) >= 3.5 }

// entropy is Shannon's, in bits a character.
func entropy(v []byte) float64 {
	var count [256]int
	for _, c := range v {
		count[c]++
	}
	bits := 0.0
	for _, n := range count {
		if n > 0 {
			p := float64(n) / float64(len(v))
			bits -= p * math.Log2(p)
		}
	}
	return bits
}
