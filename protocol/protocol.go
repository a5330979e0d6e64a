// Package protocol is the vocabulary between the bytes of a connection and
// the pairs that are made of them: what a protocol is, how it is detected,
// and what a decoder reports.
//
// Everything here is sans-IO: a decoder takes borrowed bytes and the time at
// which they passed, and reports messages to a Sink. It has no connection,
// goroutine, channel, lock, logger or clock of its own, so it can wait for
// nothing, and it is linear in its input (Fuel). Any split of the same bytes
// into calls gives the same reports.
package protocol

import "errors"

// Direction says which way bytes travel.
type Direction uint8

const (
	ClientToServer Direction = iota
	ServerToClient
)

// Opposite is the other way.
func (d Direction) Opposite() Direction { return d ^ 1 }

func (d Direction) String() string {
	if d == ClientToServer {
		return "client_to_server"
	}
	return "server_to_client"
}

// Verdict answers "is this your protocol?" for the first bytes of both
// directions.
type Verdict uint8

const (
	// NoMatch: it is not, whatever follows.
	NoMatch Verdict = iota
	// NeedMore: it may be; more bytes of either direction will tell.
	NeedMore
	// Match: it is.
	Match
)

// MaxPrefix is how many bytes of each direction detection may look at. Past
// that NeedMore counts as NoMatch.
const MaxPrefix = 4 << 10

// Protocol is one line of the list in protocol/protocols.
type Protocol struct {
	// Name is lower case and stored in pairs: "http", "tls".
	Name string
	// Title is what people read in logs and the viewer: "HTTP", "TLS".
	Title string
	// Detect looks at the first bytes of both directions, either of which may
	// be empty. It must not keep them.
	Detect func(client, server []byte) Verdict
	// Describe extracts facts of an undecoded protocol from its first bytes
	// (TLS: server name and ALPN). Nil when there are none to tell.
	Describe func(client, server []byte) []Attr
	// New makes the decoder of one connection, which reports to the Sink and
	// burns the Fuel. Nil: the protocol is named, and its connections are
	// recorded as opaque.
	New func(Sink, *Fuel) Decoder
	// Advice says what an undecoded protocol means for the user, and what to
	// do about it: "carried unread; terminate TLS before goproxy for now".
	Advice string
}

// Attr is a named fact about a connection; it becomes a tag of its pairs.
type Attr struct{ Key, Value string }

// Time is nanoseconds since the Unix epoch, from a clock that never runs
// backwards within a process.
type Time = int64

// Decoder turns the bytes of one connection into reports to the Sink that it
// was made with. Calls come one at a time, in the order in which the bytes
// passed; a request's bytes always come before those of its response. After
// an error or a panic nothing more may be called: the connection is opaque
// from there.
type Decoder interface {
	// Data gives bytes that were carried in direction dir at time at. b is
	// borrowed until the call returns.
	Data(dir Direction, at Time, b []byte) error
	// Gap says that n bytes of dir were carried but not seen.
	Gap(dir Direction, at Time, n int64) error
	// Close says that dir ended: cleanly (FIN) or not (reset). Messages that
	// end with the stream end here.
	Close(dir Direction, at Time, clean bool) error
	// Held is how many bytes it keeps of what it was given, because they are
	// no message yet: MaxHeld at most. Nothing is held, and no message open,
	// between messages.
	Held() int
}

// Sink takes what a decoder understood. Reports of one direction are in wire
// order: Begin, any number of Body, End; then the next message. Everything
// passed in is borrowed until the call returns.
type Sink interface {
	Begin(Begin)
	Body(Body)
	End(End)
}

// Kind says what part a message has in an exchange.
type Kind uint8

const (
	Request Kind = iota
	Response
	// Interim is a response that announces another one (HTTP 1xx but 101).
	// It has a Begin and no Body or End.
	Interim
)

// Begin reports that the head of a message is complete.
type Begin struct {
	Kind Kind
	Dir  Direction
	// First is when the message's first byte passed, At when its head was
	// complete.
	First, At Time
	// Key joins a response to its request where the protocol has an id for
	// that. 0: by order.
	Key uint64
	// Head is the header block exactly as it was on the wire; empty where a
	// message has none (the response of HTTP/0.9).
	Head []byte
	// What the message is about, in the words that all protocols share (see
	// capturev1.RRPair). A request has method, host, path and query, a
	// response has a status.
	Method, Host, Path, Query []byte
	Status                    int
	// NoResponse: this request never has one.
	NoResponse bool
}

// Body reports bytes of the current message's body, after the transfer coding
// and before any content coding.
type Body struct {
	Dir  Direction
	At   Time
	Data []byte
	// Missing is the number of body bytes that were carried but not seen
	// after a gap; then Data is empty.
	Missing int64
	// Chunk is set on the first Body of each chunk of a chunked message, the
	// last one (Size 0) included
	// (Data may be empty then), and holds the chunk's size line.
	Chunk *Chunk
}

// Chunk is one chunk of a chunked message.
type Chunk struct {
	Size uint64
	// Line is the chunk's line without CRLF, as on the wire; nil when it is
	// the size in lower-case hexadecimal digits and nothing else.
	Line []byte
}

// End reports that the current message of a direction is over.
type End struct {
	Dir Direction
	At  Time
	// Trailers is the trailer section exactly as it was on the wire.
	Trailers []byte
	// Wire is the number of bytes that the message took on the wire.
	Wire uint64
	// Incomplete: the stream ended, or became unreadable, before the
	// message's framing said that it was over.
	Incomplete bool
}

// Errors that end decoding. Each turns the connection opaque; what they say
// is kept with the pair.
var (
	// ErrAmbiguous: two readers could frame these bytes differently, so what
	// follows could be anybody's (RFC 9112, section 11.2).
	ErrAmbiguous = errors.New("framing is ambiguous")
	// ErrMalformed: these bytes are not the protocol.
	ErrMalformed = errors.New("malformed")
	// ErrUpgraded: the peers agreed to speak another protocol from here.
	ErrUpgraded = errors.New("upgraded to another protocol")
	// ErrTooLarge: a head is larger than the decoder holds.
	ErrTooLarge = errors.New("header block is too large")
	// ErrGap: bytes went missing where the decoder cannot go on without them.
	ErrGap = errors.New("bytes were not seen")
)
