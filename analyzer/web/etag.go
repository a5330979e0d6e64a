package web

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/zeebo/xxh3"
)

// etag is a strong validator made of the content, for answers that do not
// change: it says nothing that the content does not.
func etag(b []byte) string { return fmt.Sprintf("%q", fmt.Sprintf("%x", xxh3.Hash128(b).Bytes())) }

// fresh sets the validator and, when the client has just this content, answers
// 304 (RFC 9110, section 13.1.2).
func fresh(w http.ResponseWriter, ifNoneMatch, tag string) bool {
	w.Header().Set("ETag", tag)
	if !sameTag(ifNoneMatch, tag) {
		return false
	}
	w.WriteHeader(http.StatusNotModified)
	return true
}

// sameTag compares weakly: a coding changes bytes and not content.
func sameTag(ifNoneMatch, tag string) bool {
	for item := range strings.SplitSeq(ifNoneMatch, ",") {
		if item = strings.TrimSpace(item); item == "*" || strings.TrimPrefix(item, "W/") == tag {
			return true
		}
	}
	return false
}
