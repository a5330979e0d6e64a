package interchange

import (
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"github.com/weir-capture/weir/query"
)

// parquetRow is one row. Names are those of the API; what did not happen is
// null; bytes are bytes, since a body need not be text. Times are UTC without
// saying so: DuckDB would cut those that do to microseconds.
type parquetRow struct {
	ID               [16]byte          `parquet:"id,uuid"`
	Time             int64             `parquet:"time,timestamp(nanosecond:local)"`
	Cluster          string            `parquet:"cluster,dict,zstd"`
	Namespace        string            `parquet:"namespace,dict,zstd"`
	App              string            `parquet:"app,dict,zstd"`
	Pod              string            `parquet:"pod,dict,zstd"`
	ProxyID          string            `parquet:"proxy_id,dict,zstd"`
	ProxySeq         uint64            `parquet:"proxy_seq,zstd"`
	Direction        string            `parquet:"direction,dict,zstd"`
	Protocol         string            `parquet:"protocol,dict,zstd"`
	Client           string            `parquet:"client,dict,zstd"`
	Server           string            `parquet:"server,dict,zstd"`
	Conn             uint64            `parquet:"conn,zstd"`
	Seq              uint64            `parquet:"seq,zstd"`
	Method           string            `parquet:"method,dict,zstd"`
	Host             string            `parquet:"host,dict,zstd"`
	Path             string            `parquet:"path,dict,zstd"`
	Query            string            `parquet:"query,zstd"`
	Endpoint         string            `parquet:"endpoint,dict,zstd"`
	Status           int32             `parquet:"status,zstd"`
	Error            string            `parquet:"error,dict,zstd"`
	DurationNS       *int64            `parquet:"duration_ns,optional,zstd"`
	TTFBNS           *int64            `parquet:"ttfb_ns,optional,zstd"`
	Accepted         *int64            `parquet:"accepted,optional,timestamp(nanosecond:local),zstd"`
	Connected        *int64            `parquet:"connected,optional,timestamp(nanosecond:local),zstd"`
	RequestFirst     *int64            `parquet:"request_first,optional,timestamp(nanosecond:local),zstd"`
	RequestLast      *int64            `parquet:"request_last,optional,timestamp(nanosecond:local),zstd"`
	ResponseFirst    *int64            `parquet:"response_first,optional,timestamp(nanosecond:local),zstd"`
	ResponseLast     *int64            `parquet:"response_last,optional,timestamp(nanosecond:local),zstd"`
	RequestSize      uint64            `parquet:"request_size,zstd"`
	ResponseSize     uint64            `parquet:"response_size,zstd"`
	RequestHead      []byte            `parquet:"request_head,zstd"`
	RequestBody      []byte            `parquet:"request_body,zstd"`
	ResponseHead     []byte            `parquet:"response_head,zstd"`
	ResponseBody     []byte            `parquet:"response_body,zstd"`
	RequestTrailers  []byte            `parquet:"request_trailers,zstd"`
	ResponseTrailers []byte            `parquet:"response_trailers,zstd"`
	Flags            []string          `parquet:"flags,list,zstd"`
	Tags             map[string]string `parquet:"tags"`
	SampleWeight     uint32            `parquet:"sample_weight,zstd"`
}

// A row group is what the writer holds: it ends with so many rows or bytes.
const (
	groupRows  = 20_000
	groupBytes = 16 << 20
)

type parquetWriter struct {
	w     *parquet.GenericWriter[parquetRow]
	rows  int
	bytes int
}

func newParquetWriter(w io.Writer, version string) *parquetWriter {
	return &parquetWriter{w: parquet.NewGenericWriter[parquetRow](
		w,
		parquet.CreatedBy("Weir", version, ""),
		parquet.Compression(&zstd.Codec{Level: zstd.SpeedFastest}),
		parquet.PageBufferSize(256<<10),
	)}
}

func (w *parquetWriter) Write(p Pair) error {
	row := parquetRowOf(p)
	if _, err := w.w.Write([]parquetRow{row}); err != nil {
		return fmt.Errorf("write pair: %w", err)
	}
	w.rows++
	w.bytes += len(row.RequestHead) + len(row.RequestBody) + len(row.ResponseHead) + len(row.ResponseBody) +
		len(row.Path) + len(row.Query) + len(row.Host) + len(row.Error) + 256
	if w.rows < groupRows && w.bytes < groupBytes {
		return nil
	}
	w.rows, w.bytes = 0, 0
	if err := w.w.Flush(); err != nil {
		return fmt.Errorf("write row group: %w", err)
	}
	return nil
}

func (w *parquetWriter) Close() error {
	if err := w.w.Close(); err != nil {
		return fmt.Errorf("write end: %w", err)
	}
	return nil
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
