package interchange

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// zstdCodec compresses pages with one encoder of a small window. The library's
// own keeps a pool of encoders with windows of several MiB each, for pages of
// at most a few hundred KiB.
type zstdCodec struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
}

func newZstdCodec() (*zstdCodec, error) {
	enc, err := zstd.NewWriter(
		nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(2*pageBytes),
		zstd.WithZeroFrames(true), zstd.WithEncoderCRC(false),
	)
	if err != nil {
		return nil, fmt.Errorf("set up compression: %w", err)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("set up compression: %w", err)
	}
	return &zstdCodec{enc, dec}, nil
}

func (*zstdCodec) String() string                            { return "ZSTD" }
func (*zstdCodec) CompressionCodec() format.CompressionCodec { return format.Zstd }

func (c *zstdCodec) Encode(dst, src []byte) ([]byte, error) {
	return c.enc.EncodeAll(src, dst[:0]), nil
}
func (c *zstdCodec) Decode(dst, src []byte) ([]byte, error) { return c.dec.DecodeAll(src, dst[:0]) }

// parquetEnd leaves the index of pages out of a file. Of columns without bounds
// the library says there that each page has only empty values; readers that pass
// over pages by it would not find what is there, and some cannot read a file in
// which columns have an index and others not. The bounds of row groups stay.
type parquetEnd struct {
	w   io.Writer
	n   int64         // bytes that were written to w
	end *bytes.Buffer // nil before begin
}

// parquetMagic ends a file, after the length of its footer: 4 bytes, little
// endian (https://parquet.apache.org/docs/file-format/).
var parquetMagic = []byte("PAR1")

var errParquetEnd = errors.New("the end of the file has an unknown form")

func (e *parquetEnd) Write(b []byte) (int, error) {
	if e.end != nil {
		return e.end.Write(b)
	}
	n, err := e.w.Write(b)
	e.n += int64(n)
	return n, err
}

// begin says that nothing but the end is to come: indexes and the footer.
func (e *parquetEnd) begin() { e.end = new(bytes.Buffer) }

// close writes the footer.
func (e *parquetEnd) close() error {
	b := e.end.Bytes()
	rest, ok := bytes.CutSuffix(b, parquetMagic)
	if !ok || len(rest) < 4 {
		return fmt.Errorf("write end: %w", errParquetEnd)
	}
	rest, tail := rest[:len(rest)-4], rest[len(rest)-4:]
	size := binary.LittleEndian.Uint32(tail)
	if uint64(size) > uint64(len(rest)) {
		return fmt.Errorf("write end: %w", errParquetEnd)
	}
	var meta format.FileMetaData
	protocol := new(thrift.CompactProtocol)
	if err := thrift.Unmarshal(protocol, rest[len(rest)-int(size):], &meta); err != nil {
		return fmt.Errorf("write end: %w: %w", errParquetEnd, err)
	}
	for i := range meta.RowGroups {
		for j := range meta.RowGroups[i].Columns {
			c := &meta.RowGroups[i].Columns[j]
			c.ColumnIndexOffset, c.ColumnIndexLength, c.OffsetIndexOffset, c.OffsetIndexLength = 0, 0, 0, 0
		}
	}
	footer, err := thrift.Marshal(protocol, &meta)
	if err != nil {
		return fmt.Errorf("write end: %w", err)
	}
	begin := rest[:0]
	if len(meta.RowGroups) == 0 {
		begin = rest[:len(rest)-int(size)] // not written before, and there is no index
	}
	for _, part := range [][]byte{begin, footer, binary.LittleEndian.AppendUint32(nil, uint32(len(footer))), parquetMagic} {
		if _, err := e.w.Write(part); err != nil {
			return fmt.Errorf("write end: %w", err)
		}
	}
	return nil
}
