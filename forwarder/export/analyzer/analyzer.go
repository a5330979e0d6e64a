// Package analyzer exports the spool to the analyzer: over one gRPC stream,
// from where the analyzer says that it is, with a bounded part on its way.
package analyzer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/frame"
	"github.com/weir-capture/weir/internal/backoff"
	"github.com/weir-capture/weir/internal/grpcpeer"
	"github.com/weir-capture/weir/internal/lograte"
	"github.com/weir-capture/weir/seglog"
	"github.com/weir-capture/weir/spool"
)

// Name is the destination's and its cursor's.
const Name = "analyzer"

const (
	// maxMessage is what a frame may take; a little above what a proxy may
	// send in one.
	maxMessage = 24 << 20
	// window bounds the bytes that are sent and not acknowledged.
	window = 32 << 20
	// haveTime is how long the analyzer has to say what it has.
	haveTime = 10 * time.Second
	// goodbyeTime is how long it has to take notice of the last status.
	goodbyeTime = 500 * time.Millisecond
	// statusEvery is how often it hears of the forwarder and its proxies.
	statusEvery = time.Second
	// complainEvery is how often the same trouble is told again.
	complainEvery = time.Minute
)

// Settings are what an Exporter needs.
type Settings struct {
	// Addr is the analyzer's "host:port".
	Addr                          string
	ForwarderID, Cluster, Version string
	// Spool has a cursor with this package's Name.
	Spool *spool.Spool
	// Status is what goes to the analyzer each second.
	Status func() *capturev1.ForwarderStatus
	// Rand gives numbers in [0, 1).
	Rand     func() float64
	Log      *slog.Logger
	Repeated *lograte.Logger
}

// Exporter implements export.Exporter.
type Exporter struct {
	set    Settings
	cursor *spool.Cursor

	// complained is the last trouble that was told, and when.
	complained   string
	complainedAt time.Time

	mu      sync.Mutex
	damaged uint64 // pairs in records that could not be read
	// looked is where reading came to: damage before it was counted.
	looked uint64
}

// New makes an Exporter. It starts nothing.
func New(set Settings) *Exporter {
	return &Exporter{set: set, cursor: set.Spool.Cursor(Name)}
}

// Name implements export.Exporter.
func (e *Exporter) Name() string { return Name }

// Damaged counts pairs in records of the spool that could not be read. Records
// whose head is damaged too count as one pair at least.
func (e *Exporter) Damaged() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.damaged
}

// Run implements export.Exporter.
func (e *Exporter) Run(ctx context.Context, drain <-chan struct{}) error {
	retry := backoff.Backoff{Min: 200 * time.Millisecond, Max: 2 * time.Second, Rand: e.set.Rand}
	for {
		began := time.Now()
		err := e.session(ctx, drain)
		if err == nil || ctx.Err() != nil || errors.Is(err, seglog.ErrClosed) {
			return nil
		}
		select {
		case <-drain: // nobody there to take the rest; it waits in the spool
			return nil
		default:
		}
		if !errors.Is(err, errRenewed) {
			e.complain(err)
		}
		if time.Since(began) > retry.Max {
			retry.Reset()
		}
		timer := time.NewTimer(retry.Next())
		select {
		case <-timer.C:
		case <-drain: // one more try, at once
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// complain says why there is no analyzer, once for each reason and then now
// and then.
func (e *Exporter) complain(err error) {
	text := err.Error()
	if text == e.complained && time.Since(e.complainedAt) < complainEvery {
		return
	}
	e.complained, e.complainedAt = text, time.Now()
	e.set.Log.Warn("Not connected to analyzer; pairs stay in the spool and are sent later",
		slog.String("addr", e.set.Addr), slog.String("error", text))
}

// session is one connection, from dialling to its end. It returns nil when
// everything was taken after drain was closed.
func (e *Exporter) session(ctx context.Context, drain <-chan struct{}) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	peer, err := grpcpeer.Connect(ctx, grpcpeer.Settings{Addr: e.set.Addr, Name: "analyzer", MaxMessage: maxMessage})
	if err != nil {
		return err
	}
	defer func() { _ = peer.Close() }()
	// The greeting has a time limit; the stream has none.
	greeting := time.AfterFunc(haveTime, cancel)
	stream, have, err := e.greet(ctx, peer)
	if !greeting.Stop() && ctx.Err() != nil {
		err = errors.New("it did not say in time what it has")
	}
	if err != nil {
		return peer.Explain(ctx, err)
	}
	if err := e.begin(have); err != nil {
		return err
	}
	e.set.Log.Info("Connected to analyzer", slog.String("addr", e.set.Addr))
	e.complained = ""

	f := &flight{e: e, stream: stream, room: semaphore.NewWeighted(window), acked: make(chan struct{}, 1)}
	over := make(chan error, 2)
	entries := make(chan seglog.Entry)
	var wg sync.WaitGroup
	wg.Go(func() { over <- f.listen() })
	wg.Go(func() { over <- f.read(ctx, have.GetNextOffset(), entries) })
	err = f.talk(drain, entries, over)
	cancel()
	wg.Wait()
	if err == nil {
		return nil
	}
	return peer.Explain(ctx, err)
}

type exportStream = grpc.BidiStreamingClient[capturev1.ExportRequest, capturev1.ExportResponse]

// greet opens the stream: who we are, and what the other side has.
func (e *Exporter) greet(ctx context.Context, peer *grpcpeer.Peer) (exportStream, *capturev1.ExportResponse_Have, error) {
	stream, err := capturev1.NewIngestServiceClient(peer).Export(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("open stream: %w", err)
	}
	id := e.set.Spool.ID()
	log := e.set.Spool.Log()
	hello := &capturev1.Hello{
		SpoolId: id[:], OldestOffset: log.Oldest(), NextOffset: log.Next(),
		ForwarderId: e.set.ForwarderID, Cluster: e.set.Cluster, Version: e.set.Version,
	}
	// What is wrong with a stream Recv knows, not Send.
	_ = stream.Send(&capturev1.ExportRequest{Kind: &capturev1.ExportRequest_Hello{Hello: hello}})
	resp, err := stream.Recv()
	if err != nil {
		return nil, nil, err
	}
	have := resp.GetHave()
	if have == nil {
		return nil, nil, errors.New("its first word is not what it has: it is no analyzer of this version")
	}
	return stream, have, nil
}

// errRenewed: the spool has another id, and wants to be asked for by it.
var errRenewed = errors.New("the spool has a new id")

// begin brings the cursor to what the analyzer has.
func (e *Exporter) begin(have *capturev1.ExportResponse_Have) error {
	if next := e.set.Spool.Log().Next(); have.GetNextOffset() > next {
		// Its files went back, as after a restored backup, and since then it
		// may have taken records at offsets where the analyzer has others.
		// Under another id all of it goes there; what the analyzer has
		// already it knows by its batches.
		e.set.Log.Warn("The analyzer has more of this spool than is in it: its directory is an older copy. It goes on under a new id",
			slog.Uint64("next", next), slog.Uint64("analyzer", have.GetNextOffset()))
		if err := e.set.Spool.Renew(); err != nil {
			return err
		}
		return errRenewed
	}
	e.advance(have.GetNextOffset())
	return nil
}

func (e *Exporter) advance(offset uint64) {
	if err := e.cursor.Advance(offset); err != nil {
		e.set.Repeated.Log(slog.LevelError, "Could not write the cursor of the analyzer", slog.String("error", err.Error()))
	}
}

// flight is what is on its way on one stream.
type flight struct {
	e      *Exporter
	stream exportStream
	room   *semaphore.Weighted
	acked  chan struct{} // something was acknowledged

	mu   sync.Mutex
	sent []parcel // in order, not acknowledged
	high uint64   // next offset of the last one sent
}

type parcel struct {
	next uint64
	size int64
}

// read brings records from the spool while there is room for them.
func (f *flight) read(ctx context.Context, from uint64, out chan<- seglog.Entry) error {
	r := f.e.set.Spool.Log().Reader(from)
	defer r.Close()
	for {
		entry, err := r.Next(ctx)
		if err != nil {
			if !f.e.skip(err) {
				return err
			}
			continue
		}
		if err := f.room.Acquire(ctx, size(entry)); err != nil {
			return err
		}
		select {
		case out <- entry:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// size is what an entry takes of the window: never more than all of it.
func size(e seglog.Entry) int64 { return min(int64(len(e.Head)+len(e.Body))+128, window) }

// skip says whether reading can go on after err, and says what it costs.
func (e *Exporter) skip(err error) bool {
	if ce, ok := errors.AsType[*seglog.CorruptError](err); ok {
		pairs := uint64(1)
		if h, err := frame.Head(ce.Head); err == nil {
			pairs = uint64(h.GetPairs())
		}
		e.mu.Lock()
		again := ce.Offset < e.looked
		if !again {
			e.looked = ce.Next
			e.damaged += pairs
		}
		e.mu.Unlock()
		if !again {
			e.set.Log.Error("A record of the spool is damaged; its pairs are lost and counted",
				slog.String("error", ce.Error()), slog.Uint64("pairs", pairs))
		}
		return true
	}
	if re, ok := errors.AsType[*seglog.RemovedError](err); ok {
		e.set.Repeated.Log(slog.LevelInfo, "The spool does not have everything that the analyzer has not",
			slog.Uint64("from", re.From), slog.Uint64("to", re.To))
		return true
	}
	return false
}

// talk sends records and status until the stream breaks, or until all is
// taken after drain was closed.
func (f *flight) talk(drain <-chan struct{}, entries <-chan seglog.Entry, over <-chan error) error {
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	if f.status() != nil {
		return <-over
	}
	for {
		if drain == nil && f.e.cursor.Offset() >= f.e.set.Spool.Log().End() {
			return f.goodbye(over)
		}
		select {
		case entry := <-entries:
			if f.send(entry) != nil {
				return <-over
			}
		case <-tick.C:
			if f.status() != nil {
				return <-over
			}
		case <-f.acked:
		case <-drain:
			drain = nil
		case err := <-over:
			return err
		}
	}
}

// goodbye says where everything ended up.
func (f *flight) goodbye(over <-chan error) error {
	if f.status() == nil && f.stream.CloseSend() == nil {
		select {
		case <-over:
		case <-time.After(goodbyeTime):
		}
	}
	return nil
}

func (f *flight) status() error {
	return f.stream.Send(&capturev1.ExportRequest{Kind: &capturev1.ExportRequest_Status{Status: f.e.set.Status()}})
}

func (f *flight) send(entry seglog.Entry) error {
	f.mu.Lock()
	f.sent = append(f.sent, parcel{entry.Next, size(entry)})
	f.high = entry.Next
	f.mu.Unlock()
	return f.stream.Send(&capturev1.ExportRequest{Kind: &capturev1.ExportRequest_Frame{Frame: &capturev1.Frame{
		Offset: entry.Offset, NextOffset: entry.Next, Head: entry.Head, Body: entry.Body,
	}}})
}

// listen takes acknowledgements until the stream ends, and says why it did.
func (f *flight) listen() error {
	for {
		resp, err := f.stream.Recv()
		if err != nil {
			return fmt.Errorf("connection ended: %w", err)
		}
		ack := resp.GetStored()
		if ack == nil {
			continue
		}
		f.mu.Lock()
		// Nobody can have what was not sent.
		through := min(ack.GetNextOffset(), f.high)
		n := 0
		for n < len(f.sent) && f.sent[n].next <= through {
			f.room.Release(f.sent[n].size)
			n++
		}
		f.sent = append(f.sent[:0], f.sent[n:]...)
		f.mu.Unlock()
		f.e.advance(through)
		select {
		case f.acked <- struct{}{}:
		default:
		}
	}
}
