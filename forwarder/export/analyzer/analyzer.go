// Package analyzer exports the spool to an analyzer: over one gRPC stream,
// what the analyzer does not have, new records before a backlog, with a bounded
// part on its way.
//
// What cannot be sent is declared, so that the analyzer can account for it: a
// record that is damaged, one that the analyzer refuses, a stretch that is no
// longer there.
package analyzer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/forwarder/export"
	"github.com/weir-capture/weir/forwarder/filter"
	"github.com/weir-capture/weir/frame"
	"github.com/weir-capture/weir/internal/access"
	"github.com/weir-capture/weir/internal/backoff"
	"github.com/weir-capture/weir/internal/grpcpeer"
	"github.com/weir-capture/weir/internal/lograte"
	"github.com/weir-capture/weir/seglog"
	"github.com/weir-capture/weir/spool"
)

// Name is the destination that ANALYZER_ADDR names, and its cursor.
const Name = "analyzer"

const (
	// maxMessage is what a message may take; a little above what a proxy may
	// send in one. maxFrame is what is left of it for head and body.
	maxMessage = 24 << 20
	maxFrame   = maxMessage - 4<<10
	// haveTime is how long the analyzer has to say what it has.
	haveTime = 10 * time.Second
	// goodbyeTime is how long it has to take notice of the last status.
	goodbyeTime = 500 * time.Millisecond
	// statusEvery is how often it hears of the forwarder and its proxies.
	statusEvery = time.Second
	// silentTime is how long it may acknowledge nothing before its state says
	// so. The connection stays: it may have a reason to wait.
	silentTime = 10 * time.Second
)

// Settings are what an Exporter needs.
type Settings struct {
	// Name is the destination's; the spool has a cursor of this name. Empty
	// means the package's Name.
	Name string
	// Addr is the analyzer's "host:port".
	Addr                          string
	ForwarderID, Cluster, Version string
	Spool                         *spool.Spool
	// Filter says which pairs this destination does not want; nil: it wants
	// all.
	Filter *filter.Filter
	// Status is what goes to the analyzer each second; it is the exporter's, but
	// for its Telemetry, which goes once on each stream for as long as it is the
	// same message.
	Status func() *capturev1.ForwarderStatus
	// Dial connects to Addr; nil means TCP.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// Access is what is shown to the analyzer, and whether TLS is spoken; nil:
	// nothing, in the clear.
	Access *access.Client
	// Rand gives numbers in [0, 1).
	Rand     func() float64
	Log      *slog.Logger
	Repeated *lograte.Logger
}

// Exporter implements export.Exporter.
type Exporter struct {
	set    Settings
	cursor *spool.Cursor

	complaint export.Complaint
	// unsure are parcels of the last stream that were not acknowledged and
	// have something to count, once the analyzer turns out to have them.
	unsure []*parcel
	// limit, when it is not 0, says that a frame below until is refused, and
	// how many may be on their way at a time to find out which. nearer: the
	// last connection helped.
	limit  int
	until  uint64
	nearer bool
	// tried are the records that were on their way when the last connection
	// ended.
	tried spans
	// pause: the last connection ended with one that is held by the brake.
	pause bool
	brake *brake

	mu sync.Mutex
	// done is what of the spool needs not be sent.
	done spans
	// gaveUp is what the analyzer does not even want to be told of.
	gaveUp    spans
	connected bool
	trouble   string
	// waiting is since when nothing was acknowledged of what is on its way;
	// zero when nothing is.
	waiting time.Time
	// dropped and filtered count the pairs that did not go to this
	// destination, by reason and by rule.
	dropped, filtered map[string]uint64
	// refused has, by the beginning of their parcels, frames that the analyzer
	// does not take, and how often it has refused what was said of them.
	refused map[uint64]int

	rate export.Rate
}

// New makes an Exporter. It starts nothing.
func New(set Settings) *Exporter {
	if set.Name == "" {
		set.Name = Name
	}
	e := &Exporter{
		set: set, cursor: set.Spool.Cursor(set.Name),
		brake:   newBrake(set.Rand),
		dropped: map[string]uint64{}, filtered: map[string]uint64{}, refused: map[uint64]int{},
	}
	e.cursor.Delivered(e.delivered)
	return e
}

// delivered says whether the analyzer has what stands at an offset, so that the
// spool does not count that as lost when it makes room.
func (e *Exporter) delivered(offset uint64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.done.covers(span{offset, offset + 1})
}

// Name implements export.Exporter.
func (e *Exporter) Name() string { return e.set.Name }

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
		if !errors.Is(err, errRenewed) && !errors.Is(err, errTried) && !e.pause {
			e.complain(err)
		}
		if time.Since(began) > retry.Max {
			retry.Reset()
		}
		wait := retry.Next()
		if e.nearer {
			e.nearer, wait = false, 0
		}
		if e.pause {
			e.pause, wait = false, e.slowDown(err)
		}
		timer := time.NewTimer(wait)
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
	e.mu.Lock()
	e.trouble = text
	e.mu.Unlock()
	if !e.complaint.Due(text, time.Now()) {
		return
	}
	e.set.Log.Warn("Not connected to analyzer; pairs stay in the spool and are sent later",
		e.attrs(slog.String("addr", e.set.Addr), slog.String("error", text))...)
}

// attrs adds the destination's name where there may be several.
func (e *Exporter) attrs(attrs ...slog.Attr) []any {
	all := make([]any, 0, len(attrs)+1)
	if e.set.Name != Name {
		all = append(all, slog.String("destination", e.set.Name))
	}
	for _, a := range attrs {
		all = append(all, a)
	}
	return all
}

var (
	// errRenewed: the spool has another id, and wants to be asked for by it.
	errRenewed = errors.New("the spool has a new id")
	// errTried: what was to be sent a few frames at a time is done with.
	errTried = errors.New("what was to be tried has been tried")
)

// session is one connection, from dialling to its end. It returns nil when
// everything was taken after drain was closed.
func (e *Exporter) session(ctx context.Context, drain <-chan struct{}) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	peer, err := grpcpeer.Connect(ctx, grpcpeer.Settings{
		Addr: e.set.Addr, Name: "analyzer", MaxMessage: maxMessage, Dial: e.set.Dial, Access: e.set.Access,
		Forbidden: "this token or certificate is not a forwarder's, or the spool is another forwarder's: give each forwarder a token and a spool of its own",
	})
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
	if err := capturev1.CheckVersions("analyzer", have.GetApiVersion(), have.GetApiOldest()); err != nil {
		return err
	}
	route, err := e.begin(have)
	if err != nil {
		return err
	}
	e.set.Log.Info("Connected to analyzer", e.attrs(slog.String("addr", e.set.Addr))...)
	e.complaint.Over()
	e.connect(true)
	defer e.connect(false)
	f := newFlight(e, stream, route)
	err = f.run(ctx, cancel, drain)
	e.tried = nil
	for _, p := range f.onWay() {
		if p.reason == "" {
			e.tried.add(p.span)
		}
	}
	e.unsure = slices.DeleteFunc(f.onWay(), func(p *parcel) bool { return p.reason == "" && p.filtered == nil })
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errTried):
		e.limit, e.until, e.nearer = 0, 0, true
		return err
	case status.Code(err) == codes.InvalidArgument:
		e.suspect(f.onWay(), route.old, peer.Explain(ctx, err))
	}
	return peer.Explain(ctx, err)
}

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
		ApiVersion: capturev1.APIVersion, ApiOldest: capturev1.APIOldest,
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

// suspect is told what was on its way when the analyzer refused a frame, which
// it does by ending the stream. It names the frame by its offset; when it does
// not, half as many go at a time on the next stream, until the refused one is
// alone and known. What was stored before it the analyzer says itself.
func (e *Exporter) suspect(sent []*parcel, old bool, err error) {
	if len(sent) == 0 {
		return
	}
	e.nearer = true
	at, named := refusedAt(err)
	for _, p := range sent {
		if named && p.from == at || len(sent) == 1 {
			e.refuse(p, old)
			return
		}
	}
	e.limit = max(len(sent)/2, 1)
	for _, p := range sent {
		e.until = max(e.until, p.to)
	}
}

// refusedAt is the offset in "frame at offset 7: why".
func refusedAt(err error) (uint64, bool) {
	_, rest, found := strings.Cut(err.Error(), "frame at offset ")
	digits, _, ok := strings.Cut(rest, ":")
	at, perr := strconv.ParseUint(digits, 10, 64)
	return at, found && ok && perr == nil
}

// refuse notes that the analyzer does not take a parcel. An old one takes all in
// order and nothing else first: what it refuses is given up, if slowly.
func (e *Exporter) refuse(p *parcel, old bool) {
	if e.pause = e.brake.refused(p.span, p.reason == ""); e.pause && !old {
		return
	}
	e.mu.Lock()
	e.refused[p.from]++
	e.mu.Unlock()
	if p.reason == "" { // it was the record itself
		e.quarantine(p.stretch())
	}
}

// refusals says how often the analyzer has refused what begins at an offset.
func (e *Exporter) refusals(from uint64) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.refused[from]
}

func (e *Exporter) connect(on bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.connected, e.waiting = on, time.Time{}
	if on {
		e.trouble = ""
	}
}

// waits notes whether something is on its way, when something was sent or
// acknowledged.
func (e *Exporter) waits(on bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case !on:
		e.waiting = time.Time{}
	case e.waiting.IsZero():
		e.waiting = time.Now()
	}
}

// pass notes that nothing of a stretch has to be sent.
func (e *Exporter) pass(s span) { e.took(&parcel{span: s}) }

// giveUp notes that a parcel cannot be sent at all.
func (e *Exporter) giveUp(p *parcel) {
	e.mu.Lock()
	if p.reason == frame.ReasonRefused {
		e.gaveUp.add(p.span)
	}
	e.mu.Unlock()
	e.took(p)
}

// took notes that parcels have arrived, or that nobody will take them, and
// brings the cursor to where nothing is open below.
func (e *Exporter) took(parcels ...*parcel) {
	e.mu.Lock()
	for _, p := range parcels {
		e.done.add(p.span)
		delete(e.refused, p.from)
		for rule, n := range p.filtered {
			e.filtered[rule] += uint64(n)
		}
		if p.reason != "" {
			e.dropped[p.reason] += p.lost
		}
	}
	low := e.done.low()
	e.mu.Unlock()
	for _, p := range parcels {
		text := "A record of the spool is damaged; its pairs are lost and counted"
		switch p.reason {
		case "":
			continue
		case frame.ReasonRefused:
			text = "The analyzer refuses a record of the spool; its pairs are lost and counted"
		}
		e.set.Log.Error(text, e.attrs(slog.Uint64("offset", p.at), slog.Uint64("bytes", p.end-p.at), slog.Uint64("pairs", p.lost))...)
	}
	if err := e.cursor.Advance(low); err != nil && !errors.Is(err, seglog.ErrClosed) {
		e.set.Repeated.Log(slog.LevelError, "Could not write the cursor of the analyzer",
			slog.String("destination", e.set.Name), slog.String("error", err.Error()))
	}
}

// low is the offset below which everything is done with.
func (e *Exporter) low() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.done.low()
}

// State implements export.Exporter.
func (e *Exporter) State() *capturev1.DestinationState {
	log, at := e.set.Spool.Log(), e.cursor.Offset()
	now := time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	st := &capturev1.DestinationState{
		Name: e.set.Name, Connected: e.connected, Offset: at, Error: e.trouble,
		Dropped: copyOf(e.dropped), Filtered: copyOf(e.filtered),
	}
	if full := e.cursor.Lost().Things; full > 0 {
		st.Dropped[frame.ReasonSpoolFull] += full
	}
	end := log.End()
	if from := max(at, log.Oldest()); from < end {
		st.BacklogBytes = end - from - e.done.within(from, end)
	}
	st.BacklogEta = int64(e.rate.ETA(now, st.GetBacklogBytes()))
	if why := e.brake.trouble(); why != "" {
		st.Error = why
	}
	if silent := now.Sub(e.waiting); !e.waiting.IsZero() && silent > silentTime {
		st.Error = fmt.Sprintf("it has acknowledged nothing for %v", silent.Round(time.Second))
	}
	return st
}

func copyOf(m map[string]uint64) map[string]uint64 {
	c := make(map[string]uint64, len(m))
	for k, n := range m {
		if n > 0 {
			c[k] = n
		}
	}
	return c
}
