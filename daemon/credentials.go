package daemon

import (
	"regexp"
	"strings"
)

var (
	words = regexp.MustCompile(`\S+`)
	// userinfo is all of a word up to its last @, behind quotes and a scheme.
	userinfo = regexp.MustCompile(`^(["'(\[]*(?:[A-Za-z][A-Za-z0-9+.-]*://)?).*@`)
)

// withoutCredentials is text that holds no user and password of an address
// which somebody wrote into it: "me:secret@host:80" becomes "…@host:80". An @
// in a word without a colon is of no address.
func withoutCredentials(text string) string {
	if !strings.Contains(text, "@") {
		return text
	}
	return words.ReplaceAllStringFunc(text, func(word string) string {
		if !strings.Contains(word, ":") {
			return word
		}
		return userinfo.ReplaceAllString(word, "${1}…@")
	})
}
