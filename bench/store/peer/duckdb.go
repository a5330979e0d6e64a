package peer

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"time"
	"unicode/utf8"

	duckdb "github.com/duckdb/duckdb-go/v2"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/bench/store/corpus"
)

// duck keeps everything, bodies too, in one table of DuckDB. Bodies that are
// text are VARCHAR with zstd, since nothing else is compressed; the others are
// BLOB.
type duck struct {
	corpus   corpus.Corpus
	db       *sql.DB
	writer   *sql.Conn
	appender *duckdb.Appender
	begun    bool
}

const duckTable = `CREATE TABLE IF NOT EXISTS pairs (
	id UUID, ts BIGINT, duration BIGINT, ttfb BIGINT, namespace VARCHAR, app VARCHAR, pod VARCHAR, protocol VARCHAR,
	client VARCHAR, client_host VARCHAR, server VARCHAR, conn BIGINT, seq BIGINT, method VARCHAR, host VARCHAR, path VARCHAR, query VARCHAR,
	endpoint VARCHAR, status SMALLINT, error VARCHAR, request_size BIGINT, response_size BIGINT,
	request_head VARCHAR USING COMPRESSION zstd, response_head VARCHAR USING COMPRESSION zstd,
	request_body VARCHAR USING COMPRESSION zstd, response_body VARCHAR USING COMPRESSION zstd,
	request_bytes BLOB, response_bytes BLOB, request_hash BLOB, response_hash BLOB)`

const duckShown = "id, ts, duration, ttfb, namespace, app, pod, protocol, client, server, conn, seq, method, host, path, query, endpoint, status, error, request_size, response_size"

func openDuck(ctx context.Context, path string, c corpus.Corpus) (_ *duck, err error) {
	settings := url.Values{
		"memory_limit": {"1GB"}, "threads": {"2"}, "temp_directory": {filepath.Join(filepath.Dir(path), "tmp")},
		"checkpoint_threshold": {"256MB"}, "preserve_insertion_order": {"false"},
		"autoinstall_known_extensions": {"false"}, "autoload_known_extensions": {"false"},
		"storage_compatibility_version": {"latest"},
	}
	connector, err := duckdb.NewConnector(path+"?"+settings.Encode(), nil)
	if err != nil {
		return nil, fmt.Errorf("open DuckDB: %w", err)
	}
	d := &duck{corpus: c, db: sql.OpenDB(connector)}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
		}
	}()
	if d.writer, err = d.db.Conn(ctx); err != nil {
		return d, fmt.Errorf("connect to DuckDB: %w", err)
	}
	if _, err := d.writer.ExecContext(ctx, duckTable); err != nil {
		return d, fmt.Errorf("create table: %w", err)
	}
	return d, nil
}

// begin opens a transaction with an appender in it.
func (d *duck) begin(ctx context.Context) error {
	if d.begun {
		return nil
	}
	if _, err := d.writer.ExecContext(ctx, "BEGIN TRANSACTION"); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	d.begun = true
	return d.writer.Raw(func(conn any) (err error) {
		c, ok := conn.(driver.Conn)
		if !ok {
			return fmt.Errorf("a connection of type %T", conn)
		}
		d.appender, err = duckdb.NewAppenderFromConn(c, "", "pairs")
		return err
	})
}

// Add implements Peer.
func (d *duck) Add(ctx context.Context, p *capturev1.RRPair, s *capturev1.Source) error {
	if err := d.begin(ctx); err != nil {
		return err
	}
	t, req, resp := p.GetTiming(), p.GetRequest(), p.GetResponse()
	reqText, reqBytes := split(req.GetBody())
	respText, respBytes := split(resp.GetBody())
	return d.appender.AppendRow(
		duckdb.UUID(p.GetId()), t.GetRequestFirst(), t.GetResponseLast()-t.GetRequestFirst(), t.GetResponseFirst()-t.GetRequestFirst(),
		s.GetNamespace(), s.GetApp(), s.GetPod(), p.GetProtocol(), p.GetClient(), host(p.GetClient()), p.GetServer(), int64(p.GetConn()), int64(p.GetSeq()),
		p.GetMethod(), p.GetHost(), p.GetPath(), p.GetQuery(), endpointOf(p.GetPath()), int16(p.GetStatus()), p.GetError(),
		int64(req.GetBodySize()), int64(resp.GetBodySize()), string(req.GetHead()), string(resp.GetHead()),
		reqText, respText, reqBytes, respBytes, req.GetBodyHash(), resp.GetBodyHash(),
	)
}

// split gives a body to the column that takes it.
func split(b []byte) (text any, raw []byte) {
	if utf8.Valid(b) {
		return string(b), nil
	}
	return nil, b
}

// Commit implements Peer.
func (d *duck) Commit(ctx context.Context) error {
	if !d.begun {
		return nil
	}
	if err := d.appender.Close(); err != nil {
		return fmt.Errorf("append: %w", err)
	}
	d.begun = false
	if _, err := d.writer.ExecContext(ctx, "COMMIT"); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// Close implements Peer.
func (d *duck) Close() error {
	var errs []error
	if d.writer != nil {
		errs = append(errs, d.writer.Close())
	}
	return errors.Join(append(errs, d.db.Close())...)
}

// Ask implements Peer.
func (d *duck) Ask(ctx context.Context, key string, i int) (int, error) {
	const span = " WHERE ts >= ? AND ts < ?"
	const newest = " ORDER BY ts DESC, id DESC LIMIT 100"
	from, to := window(d.corpus, 24*time.Hour, 0, i)
	list := func(where string) (int, error) {
		return widening(from, to, func(from, to int64) (int, error) {
			return drain(ctx, d.db, "SELECT "+duckShown+" FROM pairs"+span+where+newest, from, to)
		})
	}
	const body = " AND (contains(request_body, ?) OR contains(response_body, ?))"
	switch key {
	case "newest":
		return list("")
	case "page":
		to -= int64(i%20)*int64(time.Hour) + int64(time.Minute)
		return list("")
	case "one":
		id := wanted(d.corpus, i)
		return drain(ctx, d.db, "SELECT * FROM pairs WHERE id = ?::UUID", hex.EncodeToString(id[:]))
	case "filtered":
		from, to := window(d.corpus, time.Duration(1+i%20)*time.Hour, time.Duration(i%20)*time.Hour, i)
		return drain(ctx, d.db, "SELECT "+duckShown+" FROM pairs"+span+" AND status >= 500 AND app = ?"+newest, from, to, corpus.App(i%corpus.Apps))
	case "histogram":
		step := (to - from) / 288
		return drain(ctx, d.db, "SELECT (ts - ?) // ? AS b, status // 100 AS class, count(*) FROM pairs"+span+" GROUP BY b, class ORDER BY b, class", from, step, from, to)
	case "edges":
		return drain(ctx, d.db, "SELECT client_host, app, protocol, count(*), count(*) FILTER (status >= 500), quantile_cont(duration, [0.5, 0.95]), max(ts) FROM pairs"+span+" GROUP BY ALL", from, to)
	case "endpoints":
		return drain(ctx, d.db, "SELECT app, host, method, endpoint, count(*), count(*) FILTER (status >= 500), quantile_cont(duration, [0.5, 0.95, 0.99]), sum(request_size), sum(response_size) FROM pairs"+span+" GROUP BY ALL", from, to)
	case "facets":
		all := 0
		for _, c := range facetColumns {
			n, err := drain(ctx, d.db, "SELECT "+c+", count(*) AS n FROM pairs"+span+" GROUP BY "+c+" ORDER BY n DESC LIMIT 10", from, to)
			if err != nil {
				return 0, err
			}
			all += n
		}
		return all, nil
	case "rare", "scan":
		word := corpus.Rare
		if key == "scan" {
			word = "qzxjkvwq"
		}
		return drain(ctx, d.db, "SELECT "+duckShown+" FROM pairs"+span+body+newest, from, to, word, word)
	case "common":
		return widening(from, to, func(from, to int64) (int, error) {
			return drain(ctx, d.db, "SELECT "+duckShown+" FROM pairs"+span+body+newest, from, to, corpus.Common, corpus.Common)
		})
	}
	return 0, ErrNoSuch
}
