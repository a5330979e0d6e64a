package errtext

import (
	"net/netip"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Placeholders of a template.
const (
	anyNumber = "{n}"
	anyID     = "{id}"
	anyTime   = "{time}"
	anyIP     = "{ip}"
	anyEmail  = "{email}"
	anyText   = "…"
)

var (
	uuidLike  = regexp.MustCompile(`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`)
	timeLike  = regexp.MustCompile(`^(\d{4}-\d\d-\d\d([T_]\d\d:\d\d(:\d\d([.,]\d+)?)?(Z|[+-]\d\d:?\d\d)?)?|\d\d:\d\d:\d\d([.,]\d+)?)$`)
	emailLike = regexp.MustCompile(`^[^@/:]+@[^@/:]+\.[A-Za-z]+$`)
	hexLike   = regexp.MustCompile(`^(0[xX][0-9a-fA-F]+|[0-9a-fA-F]{8,})$`)
)

// Template is a text without what may be another each time. phrase is the
// longest part of it that is plain words, as it stands in the text; empty where
// none is long enough to look for.
func Template(text string) (template, phrase string) {
	var out strings.Builder
	words := phrases{}
	text = line(text)
	for text != "" {
		r, size := utf8.DecodeRuneInString(text)
		if closing := closes(r); closing != 0 {
			if end := quoted(text[size:], closing); end >= 0 {
				out.WriteString(text[:size] + anyText + string(closing))
				text = text[size+end+utf8.RuneLen(closing):]
				words.stop()
				continue
			}
		}
		if between(r) {
			out.WriteString(text[:size])
			words.add(text[:size])
			text = text[size:]
			continue
		}
		end := strings.IndexFunc(text, func(r rune) bool { return between(r) || closes(r) != 0 && r != '\'' })
		if end < 0 {
			end = len(text)
		}
		if end == 0 { // a quote that nothing closes
			end = size
		}
		atom := text[:end]
		text = text[end:]
		core := strings.TrimRight(atom, ".,:;!?'")
		made := of(core)
		out.WriteString(made + atom[len(core):])
		if made == core {
			words.add(atom)
		} else {
			words.stop()
		}
	}
	words.stop()
	return out.String(), words.longest
}

// between are runes that no number, id or name goes over.
func between(r rune) bool {
	return r == ' ' || strings.ContainsRune("()[]{}<>;=|*#…", r)
}

// closes is what ends a quotation that r begins; 0 for others.
func closes(r rune) rune {
	switch r {
	case '"', '\'', '`':
		return r
	case '“':
		return '”'
	case '‘':
		return '’'
	case '«':
		return '»'
	}
	return 0
}

// quoted finds the end of a quotation, which is followed by no letter or digit.
func quoted(text string, closing rune) int {
	for at := 0; ; {
		i := strings.IndexRune(text[at:], closing)
		if i < 0 {
			return -1
		}
		at += i
		after, _ := utf8.DecodeRuneInString(text[at+utf8.RuneLen(closing):])
		if !unicode.IsLetter(after) && !unicode.IsDigit(after) {
			return at
		}
		at += utf8.RuneLen(closing)
	}
}

// of is the template of a word.
func of(word string) string {
	if strings.IndexFunc(word, unicode.IsDigit) < 0 && !strings.ContainsAny(word, "@:/") {
		return word
	}
	switch {
	case uuidLike.MatchString(word):
		return anyID
	case timeLike.MatchString(word):
		return anyTime
	case emailLike.MatchString(word):
		return anyEmail
	}
	if _, err := netip.ParseAddr(word); err == nil && strings.ContainsAny(word, ".:") {
		return anyIP
	}
	if _, err := netip.ParseAddrPort(word); err == nil {
		return anyIP + ":" + anyNumber
	}
	// Addresses, paths and pairs of a name and a value, part by part.
	for _, sep := range []string{"/", ":", "@", "?", "&", "_"} {
		if parts := strings.Split(word, sep); len(parts) > 1 {
			for i, p := range parts {
				parts[i] = of(p)
			}
			return strings.Join(parts, sep)
		}
	}
	if hexLike.MatchString(word) && strings.IndexFunc(word, unicode.IsDigit) >= 0 || random(word) {
		if strings.Trim(word, "0123456789") == "" {
			return anyNumber
		}
		return anyID
	}
	return numbers(word)
}

// random reports whether a word looks like one that a machine made up.
func random(word string) bool {
	digits, letters := 0, 0
	for _, r := range word {
		switch {
		case '0' <= r && r <= '9':
			digits++
		case 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z':
			letters++
		case r != '-' && r != '+' && r != '.' && r != '~' && r != '%':
			return false
		}
	}
	return digits >= 3 && letters >= 3 && digits+letters >= 16
}

// numbers replaces those in a word. One or two digits behind a letter are a
// part of its name, as in utf8.
func numbers(word string) string {
	var out strings.Builder
	for i := 0; i < len(word); {
		if !digit(word[i]) {
			out.WriteByte(word[i])
			i++
			continue
		}
		end := i
		for end < len(word) && (digit(word[end]) || end+1 < len(word) && (word[end] == '.' || word[end] == ',') && digit(word[end+1])) {
			end++
		}
		if i > 0 && letter(word[i-1]) && end-i <= 2 {
			out.WriteString(word[i:end])
		} else {
			out.WriteString(anyNumber)
		}
		i = end
	}
	return out.String()
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

func letter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// minPhrase is how many bytes a phrase has at least.
const minPhrase = 6

// phrases collects the longest run of plain words.
type phrases struct {
	run, longest string
}

func (p *phrases) add(s string) {
	plain := strings.IndexFunc(s, func(r rune) bool { return r != ' ' && r != '-' && (r > 127 || !letter(byte(r))) }) < 0
	// What stands behind the last letters may be written otherwise in a body.
	if !plain {
		if i := strings.IndexFunc(s, func(r rune) bool { return r > 127 || !letter(byte(r)) }); i > 0 {
			p.run += s[:i]
		}
		p.stop()
		return
	}
	p.run += s
}

func (p *phrases) stop() {
	run := strings.TrimSpace(p.run)
	p.run = ""
	if len(run) >= minPhrase && len(run) > len(p.longest) {
		p.longest = run
	}
}
