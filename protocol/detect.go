package protocol

// ClientFirst makes a Detect of a function that knows the protocol by the
// client's first bytes. Where the server speaks first it is something else.
func ClientFirst(detect func(client []byte) Verdict) func(client, server []byte) Verdict {
	return func(client, server []byte) Verdict {
		switch {
		case len(client) > 0:
			return detect(client)
		case len(server) > 0:
			return NoMatch
		}
		return NeedMore
	}
}

// HasMagic says whether b begins with magic.
func HasMagic(b []byte, magic string) Verdict {
	n := min(len(b), len(magic))
	switch {
	case string(b[:n]) != magic[:n]:
		return NoMatch
	case n < len(magic):
		return NeedMore
	}
	return Match
}

// Is is Match or NoMatch.
func Is(match bool) Verdict {
	if match {
		return Match
	}
	return NoMatch
}
