package interchange

import (
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"

	"github.com/weir-capture/weir/query"
)

// parquetRow is one row. Names are those of the API; what did not happen is
// null; bytes are bytes, since a body need not be text. Times are UTC without
// saying so: DuckDB would cut those that do to microseconds.
type parquetRow struct {
	ID               [16]byte          `parquet:"id,uuid"`
	Time             int64             `parquet:"time,timestamp(nanosecond:local)"`
	Cluster          string            `parquet:"cluster,dict"`
	Namespace        string            `parquet:"namespace,dict"`
	App              string            `parquet:"app,dict"`
	Pod              string            `parquet:"pod,dict"`
	ProxyID          string            `parquet:"proxy_id,dict"`
	ProxySeq         uint64            `parquet:"proxy_seq"`
	Direction        string            `parquet:"direction,dict"`
	Protocol         string            `parquet:"protocol,dict"`
	Client           string            `parquet:"client,dict"`
	Server           string            `parquet:"server,dict"`
	Conn             uint64            `parquet:"conn"`
	Seq              uint64            `parquet:"seq"`
	Method           string            `parquet:"method,dict"`
	Host             string            `parquet:"host,dict"`
	Path             string            `parquet:"path,dict"`
	Query            string            `parquet:"query"`
	Endpoint         string            `parquet:"endpoint,dict"`
	Status           int32             `parquet:"status"`
	Error            string            `parquet:"error,dict"`
	DurationNS       *int64            `parquet:"duration_ns,optional"`
	TTFBNS           *int64            `parquet:"ttfb_ns,optional"`
	Accepted         *int64            `parquet:"accepted,optional,timestamp(nanosecond:local)"`
	Connected        *int64            `parquet:"connected,optional,timestamp(nanosecond:local)"`
	RequestFirst     *int64            `parquet:"request_first,optional,timestamp(nanosecond:local)"`
	RequestLast      *int64            `parquet:"request_last,optional,timestamp(nanosecond:local)"`
	ResponseFirst    *int64            `parquet:"response_first,optional,timestamp(nanosecond:local)"`
	ResponseLast     *int64            `parquet:"response_last,optional,timestamp(nanosecond:local)"`
	RequestSize      uint64            `parquet:"request_size"`
	ResponseSize     uint64            `parquet:"response_size"`
	RequestHead      []byte            `parquet:"request_head"`
	RequestBody      []byte            `parquet:"request_body"`
	ResponseHead     []byte            `parquet:"response_head"`
	ResponseBody     []byte            `parquet:"response_body"`
	RequestTrailers  []byte            `parquet:"request_trailers"`
	ResponseTrailers []byte            `parquet:"response_trailers"`
	Flags            []string          `parquet:"flags,list"`
	Tags             map[string]string `parquet:"tags"`
	SampleWeight     uint32            `parquet:"sample_weight"`
}

// A row group is what the writer holds, compressed: it ends with so many rows,
// or bytes before or after that. Of each that is written the file's directory,
// which stands at its end, takes some 100 KB, so that they may not be small
// either.
const (
	groupRows  = 50_000
	groupRaw   = 256 << 20
	groupBytes = 32 << 20
	// pageBytes of a column are compressed at once.
	pageBytes = 256 << 10
)

// blobs are columns whose least and greatest value tell nobody anything, and
// may be bodies of 24 MiB that would be held until the file ends.
var blobs = []string{
	"request_head", "request_body", "request_trailers", "response_head", "response_body", "response_trailers", "path", "query", "error",
}

type parquetWriter struct {
	out   *parquetEnd
	w     *parquet.GenericWriter[parquetRow]
	rows  int
	bytes int
}

func newParquetWriter(w io.Writer, version string) (*parquetWriter, error) {
	codec, err := newZstdCodec()
	if err != nil {
		return nil, err
	}
	options := []parquet.WriterOption{
		parquet.CreatedBy("Weir", version, ""),
		parquet.Compression(codec),
		parquet.PageBufferSize(pageBytes),
		// It would be the least and the greatest value, twice, in front of each
		// page: four bodies where a page has six.
		parquet.DataPageStatistics(false),
		parquet.WriteBufferSize(0), // what is written has left it: see parquetEnd
	}
	for _, name := range blobs {
		options = append(options, parquet.SkipPageBounds(name))
	}
	out := &parquetEnd{w: w}
	return &parquetWriter{out: out, w: parquet.NewGenericWriter[parquetRow](out, options...)}, nil
}

func (w *parquetWriter) Write(p Pair) error {
	row := parquetRowOf(p)
	if _, err := w.w.Write([]parquetRow{row}); err != nil {
		return fmt.Errorf("write pair: %w", err)
	}
	w.rows++
	w.bytes += len(row.RequestHead) + len(row.RequestBody) + len(row.ResponseHead) + len(row.ResponseBody) +
		len(row.Path) + len(row.Query) + len(row.Host) + len(row.Error) + 256
	if w.rows < groupRows && w.bytes < groupRaw && w.w.Size()-w.out.n < groupBytes {
		return nil
	}
	return w.flush()
}

func (w *parquetWriter) flush() error {
	w.rows, w.bytes = 0, 0
	if err := w.w.Flush(); err != nil {
		return fmt.Errorf("write row group: %w", err)
	}
	return nil
}

func (w *parquetWriter) Close() error {
	if w.rows > 0 {
		if err := w.flush(); err != nil {
			return err
		}
	}
	w.out.begin()
	if err := w.w.Close(); err != nil {
		return fmt.Errorf("write end: %w", err)
	}
	return w.out.close()
}

func parquetRowOf(p Pair) parquetRow {
	src, t, req, resp := p.GetSource(), p.GetTiming(), p.GetRequest(), p.GetResponse()
	row := parquetRow{
		Time:    t.GetRequestFirst(),
		Cluster: src.GetCluster(), Namespace: src.GetNamespace(), App: src.GetApp(), Pod: src.GetPod(), ProxyID: src.GetProxyId(),
		ProxySeq: p.GetProxySeq(), Direction: enumName(p.GetDirection(), "DIRECTION_"), Protocol: p.GetProtocol(),
		Client: p.GetClient(), Server: p.GetServer(), Conn: p.GetConn(), Seq: p.GetSeq(),
		Method: p.GetMethod(), Host: p.GetHost(), Path: p.GetPath(), Query: p.GetQuery(), Endpoint: p.Endpoint,
		Status: p.GetStatus(), Error: p.GetError(),
		Accepted: unless0(t.GetAccepted()), Connected: unless0(t.GetConnected()),
		RequestFirst: unless0(t.GetRequestFirst()), RequestLast: unless0(t.GetRequestLast()),
		ResponseFirst: unless0(t.GetResponseFirst()), ResponseLast: unless0(t.GetResponseLast()),
		RequestSize: req.GetBodySize(), ResponseSize: resp.GetBodySize(),
		RequestHead: req.GetHead(), RequestBody: req.GetBody(), RequestTrailers: req.GetTrailers(),
		ResponseHead: resp.GetHead(), ResponseBody: resp.GetBody(), ResponseTrailers: resp.GetTrailers(),
		Tags: p.GetTags(), SampleWeight: max(p.GetSampleWeight(), 1),
	}
	copy(row.ID[:], p.GetId())
	if d, ok := query.Duration(p.RRPair); ok {
		row.DurationNS = &d
	}
	if d, ok := query.TTFB(p.RRPair); ok {
		row.TTFBNS = &d
	}
	for _, f := range p.GetFlags() {
		row.Flags = append(row.Flags, enumName(f, "FLAG_"))
	}
	return row
}

func unless0(t int64) *int64 {
	if t == 0 {
		return nil
	}
	return &t
}
