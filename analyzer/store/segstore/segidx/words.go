package segidx

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/zeebo/xxh3"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/query"
)

const (
	// bitsPerWord is what a bloom has at least for each distinct word of its
	// frame; with probes bits of each word set, about one in a hundred frames
	// that do not have a word looks as if it did.
	bitsPerWord = 8
	probes      = 4
	// Classes of blooms: 512, 768, 1024, 1536, ... bits. Those of one length
	// stand in one matrix.
	minBits    = 512
	maxClasses = 29 // the last has 8 Mi bits
	// maxWords is how many distinct words are told apart. A frame that has more
	// gets no bloom, and is always looked into.
	maxWords = (minBits << ((maxClasses - 1) / 2)) / bitsPerWord
	// minWord is the length of the shortest words that are kept: almost every
	// frame has those that are shorter.
	minWord = 3
	// Frames of the same traffic have many words in common, whose bits stand in
	// the same places of all of them. A word that has the bad luck to fall on
	// those would seem to be in far more frames than others. So words fall on
	// other places in each of some kinds of frames, which take their turns.
	salts = 8
	// keys tell classes and kinds apart: class times salts, plus the kind. Those
	// below salts are of class 0.
	keys = (maxClasses + 1) * salts
)

// classBits is the length of the blooms of a class, from 1.
func classBits(class int) int {
	n := minBits << ((class - 1) / 2)
	if (class-1)%2 == 1 {
		n += n / 2
	}
	return n
}

// classFor is the class for so many distinct words, 0 when there is none.
func classFor(words int) int {
	for class := 1; class <= maxClasses; class++ {
		if classBits(class) >= words*bitsPerWord {
			return class
		}
	}
	return 0
}

// hash is what stands for a word, which is in lower case. Almost all are short:
// for those it is two multiplications, which a call of a hash for texts of any
// length costs several times over.
func hash(word []byte) uint64 {
	var a, b uint64
	switch n := len(word); {
	case n > 16:
		return xxh3.Hash(word)
	case n >= 8:
		a, b = binary.LittleEndian.Uint64(word), binary.LittleEndian.Uint64(word[n-8:])
	case n >= 4:
		a, b = uint64(binary.LittleEndian.Uint32(word)), uint64(binary.LittleEndian.Uint32(word[n-4:]))
	case n > 0:
		a, b = uint64(word[0])|uint64(word[n/2])<<8, uint64(word[n-1])
	}
	return fold(fold(a^hashA, b^hashB), uint64(len(word))^hashC)
}

// What is mixed into words: the first digits of the fractions of the square
// roots of 2, 3 and 5.
const (
	hashA = 0x6a09e667f3bcc908
	hashB = 0xbb67ae8584caa73b
	hashC = 0x3c6ef372fe94f82b
)

// fold is both halves of a product of 128 bits in one.
func fold(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	return high ^ low
}

// salted is the hash of a word in one kind of frames.
func salted(hash uint64, salt int) uint64 {
	hash = (hash ^ uint64(salt)*0x9e3779b97f4a7c15) * 0xff51afd7ed558ccd
	return hash ^ hash>>32
}

// bit is the place of a word's probe in a bloom of so many bits.
func bit(hash uint64, probe, bits int) int {
	x := uint32(hash) + uint32(probe)*uint32(hash>>32)
	return int(uint64(x) * uint64(bits) >> 32)
}

// Key makes hashes of words worthless to those who do not have it: without one
// whoever has a file can try which words are in it. nil is no key.
type Key struct{ block cipher.Block }

// NewKey makes a key of 32 bytes.
func NewKey(b []byte) (*Key, error) {
	block, err := aes.NewCipher(b)
	if err != nil {
		return nil, fmt.Errorf("make key of words: %w", err)
	}
	return &Key{block}, nil
}

// of is what stands for a hash: the first half of it encrypted (AES-256).
func (k *Key) of(hash uint64) uint64 {
	if k == nil {
		return hash
	}
	var b [aes.BlockSize]byte
	binary.LittleEndian.PutUint64(b[:], hash)
	k.block.Encrypt(b[:], b[:])
	return binary.LittleEndian.Uint64(b[:])
}

// Bloom is the set of the words of one frame. The zero value may have any.
type Bloom struct {
	key   int // 0: it has no bits
	bits  []byte
	keyed *Key
}

// Keyed is what the words are keyed with.
func (b Bloom) Keyed() *Key { return b.keyed }

// Size is how many bytes it takes.
func (b Bloom) Size() int { return len(b.bits) }

// has says whether a word may be in the frame.
func (b Bloom) has(hash uint64) bool {
	if b.key == 0 {
		return true
	}
	hash = salted(b.keyed.of(hash), b.key%salts)
	for i := range probes {
		at := bit(hash, i, 8*len(b.bits))
		if b.bits[at/8]&(1<<(at%8)) == 0 {
			return false
		}
	}
	return true
}

// May reports whether the frame may have what is needed.
func (b Bloom) May(n *query.Need) bool {
	return n.Holds(func(leaf *query.Need) bool {
		for _, w := range leaf.Words {
			if len(w) >= minWord && !b.has(hash([]byte(w))) {
				return false
			}
		}
		return true
	})
}

// lowered has each byte of a word in lower case, and 0 for what separates
// words.
var lowered = func() (t [256]byte) {
	for c := range t {
		if l, ok := query.WordByte(byte(c)); ok {
			t[c] = l
		}
	}
	return t
}()

// Collector collects the words of frames, one after another. It keeps its
// memory, and is for one goroutine.
type Collector struct {
	low []byte
	// table is an open hash set of list, which is in the order of coming; its
	// length is a power of two.
	table []uint64
	list  []uint64
	full  bool
	// lines are some that were seen in this frame, each at a place that follows
	// from what is in it: pairs of the same traffic repeat most of their header.
	lines [lineMemo][]byte
}

const (
	// Lines from minLine to maxLine bytes are remembered. Where there is no line
	// that short, as in most bodies, none is looked for in the rest of the chunk.
	minLine, maxLine = 16, 512
	lineMemo         = 1 << lineMemoBits
	lineMemoBits     = 8

	// textChunk is about how much text is put into lower case at once.
	textChunk = 64 << 10
	// keepTable bounds what is kept from one frame to the next.
	keepTable = 1 << 16
	keepLow   = 1 << 20
)

// Collect makes the bloom of the words of pairs: those of their query.Texts.
// encoded reports that some body's content is not what its bytes are.
func (c *Collector) Collect(pairs []*capturev1.RRPair, key *Key) (b Bloom, encoded bool) {
	c.reset()
	for _, p := range pairs {
		query.Texts(p, c.text)
		encoded = encoded || query.IsEncoded(p.GetRequest()) || query.IsEncoded(p.GetResponse())
	}
	clear(c.lines[:]) // they are the pairs'
	salt := 0
	if len(pairs) > 0 && len(pairs[0].GetId()) > 0 {
		// The same whenever it is made again, and of one frame in each so many.
		salt = int(xxh3.Hash(pairs[0].GetId()) % salts)
	}
	return c.bloom(salt, key), encoded
}

func (c *Collector) reset() {
	if len(c.table) > keepTable || c.table == nil {
		c.table, c.list = make([]uint64, 1024), nil
	}
	clear(c.table)
	c.list = c.list[:0]
	c.full = false
	if cap(c.low) > keepLow {
		c.low = nil
	}
}

// text adds the words of one text.
func (c *Collector) text(text []byte) {
	for len(text) > 0 {
		if n := 1 + bytes.IndexByte(text[:min(len(text), maxLine)], '\n'); n > 0 {
			if line := text[:n]; !c.seen(line) {
				c.chunk(line)
			}
			text = text[n:]
			continue
		}
		n := min(len(text), textChunk)
		// A chunk ends where a word does.
		for n < len(text) && lowered[text[n]] != 0 && lowered[text[n-1]] != 0 {
			n++
		}
		c.chunk(text[:n])
		text = text[n:]
	}
}

// seen reports whether this frame's words have those of a line already, and
// remembers it.
func (c *Collector) seen(line []byte) bool {
	n := len(line)
	if n < minLine {
		return false
	}
	ends := fold(binary.LittleEndian.Uint64(line)^hashA, binary.LittleEndian.Uint64(line[n-8:])^hashB^uint64(n))
	at := &c.lines[ends>>(64-lineMemoBits)]
	if bytes.Equal(*at, line) {
		return true
	}
	*at = line
	return false
}

func (c *Collector) chunk(text []byte) {
	if cap(c.low) < len(text) {
		c.low = make([]byte, len(text))
	}
	low := c.low[:len(text)]
	from := 0
	for i, b := range text {
		l := lowered[b]
		low[i] = l
		if l == 0 {
			if from+minWord <= i {
				c.add(hash(low[from:i]))
			}
			from = i + 1
		}
	}
	if from+minWord <= len(low) {
		c.add(hash(low[from:]))
	}
}

func (c *Collector) add(h uint64) {
	if c.full {
		return
	}
	if h == 0 { // an empty place of the table; it may be in the list twice
		c.keep(0)
		return
	}
	mask := uint64(len(c.table) - 1)
	at := h & mask
	for c.table[at] != 0 {
		if c.table[at] == h {
			return
		}
		at = (at + 1) & mask
	}
	c.table[at] = h
	c.keep(h)
}

func (c *Collector) keep(h uint64) {
	if len(c.list) == maxWords {
		c.full = true
		return
	}
	c.list = append(c.list, h)
	if 2*len(c.list) > len(c.table) {
		c.grow()
	}
}

func (c *Collector) grow() {
	c.table = make([]uint64, 2*len(c.table))
	mask := uint64(len(c.table) - 1)
	for _, h := range c.list {
		if h == 0 {
			continue
		}
		at := h & mask
		for c.table[at] != 0 {
			at = (at + 1) & mask
		}
		c.table[at] = h
	}
}

func (c *Collector) bloom(salt int, key *Key) Bloom {
	if c.full {
		return Bloom{keyed: key}
	}
	class := classFor(len(c.list))
	n := classBits(class)
	b := Bloom{key: class*salts + salt, bits: make([]byte, n/8), keyed: key}
	for _, h := range c.list {
		h = salted(key.of(h), salt)
		for i := range probes {
			at := bit(h, i, n)
			b.bits[at/8] |= 1 << (at % 8)
		}
	}
	return b
}
