package peer

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	_ "modernc.org/sqlite" // the driver

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/bench/store/corpus"
	"github.com/weir-capture/weir/frame"
	"github.com/weir-capture/weir/seglog"
)

// lite keeps whole pairs in Weir's log and their metadata in SQLite. Words that
// repeat are numbers there.
type lite struct {
	corpus corpus.Corpus
	db     *sql.DB
	log    *seglog.Log
	words  map[string]int64

	frames []*liteFrame
	byApp  map[string]*liteFrame
	seq    uint64
}

// liteFrame is what one record of the log will hold.
type liteFrame struct {
	source *capturev1.Source
	pairs  []*capturev1.RRPair
	offset uint64
}

const liteSchema = `
CREATE TABLE IF NOT EXISTS words (id INTEGER PRIMARY KEY, word TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS pairs (ts INTEGER, id BLOB, duration INTEGER, bucket INTEGER, ttfb INTEGER,
	namespace INTEGER, app INTEGER, pod INTEGER, protocol INTEGER, client INTEGER, client_host INTEGER, conn INTEGER, seq INTEGER,
	method INTEGER, host INTEGER, path TEXT, query INTEGER, endpoint INTEGER, status INTEGER,
	request_size INTEGER, response_size INTEGER, off INTEGER, idx INTEGER);
CREATE INDEX IF NOT EXISTS by_time ON pairs (ts, id);
CREATE INDEX IF NOT EXISTS by_id ON pairs (id);
CREATE INDEX IF NOT EXISTS by_app ON pairs (app, status, ts);`

func openLite(ctx context.Context, dir string, c corpus.Corpus) (_ *lite, err error) {
	if err := os.MkdirAll(filepath.Join(dir, "log"), 0o755); err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	l := &lite{corpus: c, words: map[string]int64{}, byApp: map[string]*liteFrame{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	if l.log, err = seglog.Open(filepath.Join(dir, "log"), seglog.Options{SegmentBytes: 256 << 20}); err != nil {
		return l, fmt.Errorf("open log: %w", err)
	}
	dsn := "file:" + filepath.Join(dir, "pairs.sqlite") + "?_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=cache_size(-262144)&_pragma=mmap_size(4294967296)&_pragma=busy_timeout(60000)"
	if l.db, err = sql.Open("sqlite", dsn); err != nil {
		return l, fmt.Errorf("open SQLite: %w", err)
	}
	if _, err := l.db.ExecContext(ctx, liteSchema); err != nil {
		return l, fmt.Errorf("create tables: %w", err)
	}
	rows, err := l.db.QueryContext(ctx, "SELECT id, word FROM words")
	if err != nil {
		return l, fmt.Errorf("read words: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		var word string
		if err := rows.Scan(&id, &word); err != nil {
			return l, fmt.Errorf("read words: %w", err)
		}
		l.words[word] = id
	}
	return l, rows.Err()
}

// Add implements Peer.
func (l *lite) Add(_ context.Context, p *capturev1.RRPair, s *capturev1.Source) error {
	f := l.byApp[s.GetPod()]
	if f == nil || len(f.pairs) == frame.MaxPairs {
		f = &liteFrame{source: s}
		l.frames = append(l.frames, f)
		l.byApp[s.GetPod()] = f
	}
	c := proto.CloneOf(p)
	c.Source = s
	f.pairs = append(f.pairs, c)
	return nil
}

// Commit implements Peer.
func (l *lite) Commit(ctx context.Context) error {
	var records []seglog.Record
	for _, f := range l.frames {
		l.seq++
		head, body, err := frame.Make(&capturev1.FrameHead{Source: f.source, BatchSeq: l.seq, FirstPairSeq: 1, Received: uint32(len(f.pairs))}, f.pairs)
		if err != nil {
			return err
		}
		records = append(records, seglog.Record{Head: head, Body: body, Committed: func(offset, _ uint64) { f.offset = offset }})
	}
	if len(records) == 0 {
		return nil
	}
	if _, err := l.log.Append(records...); err != nil {
		return fmt.Errorf("append: %w", err)
	}
	if err := l.index(ctx); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	l.frames = l.frames[:0]
	clear(l.byApp)
	return nil
}

func (l *lite) index(ctx context.Context) error {
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	insert, err := tx.PrepareContext(ctx, "INSERT INTO pairs VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)")
	if err != nil {
		return err
	}
	defer insert.Close()
	var failed error
	word := func(s string) int64 {
		if id, ok := l.words[s]; ok {
			return id
		}
		id := int64(len(l.words) + 1)
		l.words[s] = id
		if _, err := tx.ExecContext(ctx, "INSERT INTO words VALUES (?, ?)", id, s); err != nil {
			failed = err
		}
		return id
	}
	for _, f := range l.frames {
		for i, p := range f.pairs {
			t := p.GetTiming()
			took := t.GetResponseLast() - t.GetRequestFirst()
			if _, err := insert.ExecContext(ctx, t.GetRequestFirst(), p.GetId(), took, bucketOf(took), t.GetResponseFirst()-t.GetRequestFirst(),
				word(f.source.GetNamespace()), word(f.source.GetApp()), word(f.source.GetPod()), word(p.GetProtocol()), word(p.GetClient()), word(host(p.GetClient())),
				int64(p.GetConn()), int64(p.GetSeq()), word(p.GetMethod()), word(p.GetHost()), p.GetPath(), word(p.GetQuery()), word(endpointOf(p.GetPath())),
				int64(p.GetStatus()), int64(p.GetRequest().GetBodySize()), int64(p.GetResponse().GetBodySize()), int64(f.offset), i); err != nil {
				return err
			}
		}
	}
	if failed != nil {
		return failed
	}
	return tx.Commit()
}

// Close implements Peer.
func (l *lite) Close() error {
	var errs []error
	if l.db != nil {
		errs = append(errs, l.db.Close())
	}
	if l.log != nil {
		errs = append(errs, l.log.Close())
	}
	return errors.Join(errs...)
}

// Ask implements Peer.
func (l *lite) Ask(ctx context.Context, key string, i int) (int, error) {
	const list = "SELECT * FROM pairs WHERE ts >= ? AND ts < ? ORDER BY ts DESC, id DESC LIMIT 100"
	from, to := window(l.corpus, 24*time.Hour, 0, i)
	switch key {
	case "newest":
		return drain(ctx, l.db, list, from, to)
	case "page":
		to -= int64(i%20)*int64(time.Hour) + int64(time.Minute)
		return drain(ctx, l.db, list, from, to)
	case "one":
		return l.one(ctx, wanted(l.corpus, i))
	case "filtered":
		from, to := window(l.corpus, time.Duration(1+i%20)*time.Hour, time.Duration(i%20)*time.Hour, i)
		return drain(ctx, l.db, "SELECT * FROM pairs WHERE app = ? AND status >= 500 AND ts >= ? AND ts < ? ORDER BY ts DESC, id DESC LIMIT 100",
			l.words[corpus.App(i%corpus.Apps)], from, to)
	case "histogram":
		return drain(ctx, l.db, "SELECT (ts - ?) / ? AS b, status / 100 AS class, count(*) FROM pairs WHERE ts >= ? AND ts < ? GROUP BY b, class", from, (to-from)/288, from, to)
	case "edges":
		return l.bucketed(ctx, "client_host, app", 2, from, to)
	case "endpoints":
		return l.bucketed(ctx, "app, host, method, endpoint", 4, from, to)
	case "facets":
		all := 0
		for _, c := range facetColumns {
			n, err := drain(ctx, l.db, "SELECT "+c+", count(*) AS n FROM pairs WHERE ts >= ? AND ts < ? GROUP BY "+c+" ORDER BY n DESC LIMIT 10", from, to)
			if err != nil {
				return 0, err
			}
			all += n
		}
		return all, nil
	}
	return 0, ErrNoSuch
}

// one reads a pair, whole.
func (l *lite) one(ctx context.Context, id [16]byte) (int, error) {
	var off, idx int64
	if err := l.db.QueryRowContext(ctx, "SELECT off, idx FROM pairs WHERE id = ?", id[:]).Scan(&off, &idx); err != nil {
		return 0, fmt.Errorf("find pair: %w", err)
	}
	e, err := l.log.ReadAt(uint64(off))
	if err != nil {
		return 0, fmt.Errorf("read pair: %w", err)
	}
	h, err := frame.Head(e.Head)
	if err != nil {
		return 0, err
	}
	pairs, err := frame.Pairs(h, e.Body)
	if err != nil {
		return 0, err
	}
	if !bytes.Equal(pairs[idx].GetId(), id[:]) {
		return 0, errors.New("read pair: it is another one")
	}
	return 1, nil
}

// bucketed sums by some columns, with percentiles from buckets.
func (l *lite) bucketed(ctx context.Context, by string, columns int, from, to int64) (int, error) {
	rows, err := l.db.QueryContext(ctx, "SELECT "+by+", bucket, count(*), sum(status >= 500) FROM pairs WHERE ts >= ? AND ts < ? GROUP BY "+by+", bucket", from, to)
	if err != nil {
		return 0, fmt.Errorf("ask: %w", err)
	}
	defer rows.Close()
	groups := map[[4]int64]map[int]int{}
	for rows.Next() {
		var key [4]int64
		var bucket, n, errors int
		into := []any{&key[0], &key[1], &key[2], &key[3]}[:columns]
		if err := rows.Scan(slices.Concat(into, []any{&bucket, &n, &errors})...); err != nil {
			return 0, fmt.Errorf("read answer: %w", err)
		}
		if groups[key] == nil {
			groups[key] = map[int]int{}
		}
		groups[key][bucket] += n
	}
	for _, counts := range groups {
		percentiles(counts)
	}
	return len(groups), rows.Err()
}
