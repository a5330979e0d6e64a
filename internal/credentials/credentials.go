// Package credentials keeps users and passwords that people write into
// addresses out of what is shown and logged.
package credentials

import (
	"regexp"
	"strings"
)

var (
	words = regexp.MustCompile(`\S+`)
	// userinfo is all of a word up to its last @, behind quotes, the name of a
	// variable and a scheme.
	userinfo = regexp.MustCompile(`^((?:[A-Z][A-Z0-9_]*=)?["'(\[]*(?:[A-Za-z][A-Za-z0-9+.-]*://)?).*@`)
)

// Hide is text without the user and password of any address in it:
// "me:secret@host:80" becomes "…@host:80". An @ in a word without a colon is of
// no address.
func Hide(text string) string {
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
