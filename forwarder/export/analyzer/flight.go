package analyzer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/seglog"
)

type exportStream = grpc.BidiStreamingClient[capturev1.ExportRequest, capturev1.ExportResponse]

// The lanes of a stream. What is captured now goes by the first, what had
// piled up before the stream began by the second, so that people see the
// present while the past still comes.
const (
	live = iota
	backlog
	lanes
)

const (
	// window bounds the bytes that are sent and not acknowledged. Each lane
	// may have three quarters of it, so that a quarter is always left to the
	// other: neither starves. The bytes of the stream go by the same shares
	// while both have something.
	window    = 32 << 20
	laneShare = window / 4 * 3
	restShare = window - laneShare
	// readAhead is how many parcels of a lane may wait to be sent, so that
	// whose turn it is does not hang on how fast the disk is. They are in the
	// window already.
	readAhead = 32
)

// room is the window as two lanes share it.
type room struct {
	mu     sync.Mutex
	used   [lanes]int64
	frames int
	// limit bounds the number of frames; 0: no bound.
	limit int
	wants bool          // the live lane waits
	freed chan struct{} // closed when there is more
}

func newRoom(limit int) *room { return &room{limit: limit, freed: make(chan struct{})} }

// acquire waits for n bytes of a lane's share, at most laneShare.
func (r *room) acquire(ctx context.Context, lane int, n int64) error {
	for {
		r.mu.Lock()
		if r.fits(lane, n) {
			r.used[lane] += n
			r.frames++
			if lane == live {
				r.wants = false
			}
			r.mu.Unlock()
			return nil
		}
		r.wants = r.wants || lane == live
		freed := r.freed
		r.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (r *room) fits(lane int, n int64) bool {
	switch {
	case r.limit > 0 && r.frames >= r.limit:
		return false
	case r.used[lane]+n > laneShare || r.used[live]+r.used[backlog]+n > window:
		return false
	}
	// What becomes free goes to the live lane when it waits, but for the
	// quarter that is the backlog's own.
	return lane == live || !r.wants || r.used[backlog]+n <= restShare || r.used[backlog] == 0
}

func (r *room) release(lane int, n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.used[lane] -= n
	r.frames--
	close(r.freed)
	r.freed = make(chan struct{})
}

// empty: nothing is on its way, nor about to be.
func (r *room) empty() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.frames == 0
}

// route says what of the spool a stream carries, by which lane.
type route struct {
	// old: the analyzer takes offsets in order only, and no declarations.
	old bool
	// holes go first: by the backlog's lane, or by the one lane that there is.
	holes []span
	// from is where following the log begins.
	from uint64
	// single: all goes by one lane, in order, at most limit frames at a time,
	// until everything below until was taken.
	single bool
	limit  int
	until  uint64
	// braked: until the analyzer takes a record.
	braked bool
}

// flight is what is on its way on one stream.
type flight struct {
	e      *Exporter
	stream exportStream
	route  route
	room   *room
	ready  [lanes]chan *parcel
	over   chan error    // why the stream or reading ended
	moved  chan struct{} // something was taken
	// measured is what this stream has last carried of Status.Telemetry.
	measured *capturev1.Telemetry

	mu   sync.Mutex
	sent [lanes][]*parcel // in the order of offsets, not acknowledged
	// reached is where following the log found no more.
	reached uint64
	// behind: the holes are not all read yet.
	behind bool
}

func newFlight(e *Exporter, stream exportStream, r route) *flight {
	f := &flight{
		e: e, stream: stream, route: r, room: newRoom(r.limit), behind: len(r.holes) > 0,
		over: make(chan error, 1+lanes), moved: make(chan struct{}, 1),
	}
	for i := range f.ready {
		f.ready[i] = make(chan *parcel, readAhead)
	}
	return f
}

// run carries until the stream breaks or, after drain was closed, until all
// was taken.
func (f *flight) run(ctx context.Context, cancel context.CancelFunc, drain <-chan struct{}) error {
	var wg sync.WaitGroup
	fail := func(err error) {
		if err != nil {
			f.over <- err
		}
	}
	wg.Go(func() { fail(f.listen()) })
	if f.route.single {
		wg.Go(func() {
			err := f.fill(ctx, live)
			if err == nil {
				err = f.follow(ctx)
			}
			fail(err)
		})
	} else {
		wg.Go(func() { fail(f.fill(ctx, backlog)) })
		wg.Go(func() { fail(f.follow(ctx)) })
	}
	err := f.talk(drain)
	cancel()
	wg.Wait()
	return err
}

// fill reads the holes. The last record of each is sent as if it filled what
// follows of the hole, so that nothing of it stays open.
func (f *flight) fill(ctx context.Context, lane int) error {
	for _, hole := range f.route.holes {
		if err := f.fillHole(ctx, lane, hole); err != nil {
			return err
		}
	}
	f.mu.Lock()
	f.behind = false
	f.mu.Unlock()
	f.poke()
	return nil
}

func (f *flight) fillHole(ctx context.Context, lane int, hole span) error {
	r := f.e.set.Spool.Log().Reader(hole.from)
	defer r.Close()
	var held *parcel // waits until it is known whether it is the last
	pos := hole.from
	for pos < hole.to {
		entry, err := r.TryNext()
		var p *parcel
		if !errors.Is(err, seglog.ErrEnd) {
			if p, err = f.e.parcel(pos, entry, err, f.route.old); err != nil {
				return err
			}
		}
		if p == nil || p.at >= hole.to { // no more in it
			if held == nil {
				f.e.pass(span{pos, hole.to})
				return nil
			}
			held.extend(hole.to)
			break
		}
		if held != nil {
			if err := f.emit(ctx, lane, held); err != nil {
				return err
			}
		}
		p.cut(hole.to)
		held, pos = p, p.to
	}
	if held == nil {
		return nil
	}
	return f.emit(ctx, lane, held)
}

// follow reads what comes into the log.
func (f *flight) follow(ctx context.Context) error {
	r := f.e.set.Spool.Log().Reader(f.route.from)
	defer r.Close()
	pos := f.route.from
	for {
		entry, err := r.TryNext()
		if errors.Is(err, seglog.ErrEnd) {
			f.reach(pos, r.Offset())
			entry, err = r.Next(ctx)
		}
		p, err := f.e.parcel(pos, entry, err, f.route.old)
		if err != nil {
			return err
		}
		if err := f.emit(ctx, live, p); err != nil {
			return err
		}
		pos = p.to
	}
}

// reach notes that everything durable below to was read, and that nothing but
// the log's own stands behind pos.
func (f *flight) reach(pos, to uint64) {
	f.e.pass(span{pos, to})
	f.mu.Lock()
	f.reached = to
	f.mu.Unlock()
	f.poke()
}

func (f *flight) poke() {
	select {
	case f.moved <- struct{}{}:
	default:
	}
}

// emit hands a parcel to talk once there is room for it.
func (f *flight) emit(ctx context.Context, lane int, p *parcel) error {
	if p.frame == nil {
		f.e.giveUp(p)
		f.poke()
		return nil
	}
	if err := f.room.acquire(ctx, lane, p.size); err != nil {
		return err
	}
	select {
	case f.ready[lane] <- p:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// talk sends parcels and status.
func (f *flight) talk(drain <-chan struct{}) error {
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	if f.status() != nil {
		return <-f.over
	}
	var next [lanes]*parcel
	var owed int64
	for {
		if f.route.until > 0 && f.e.low() >= f.route.until {
			return errTried
		}
		if f.route.braked && drain != nil && (!f.e.brake.on() || f.idle() && f.e.brake.anew()) {
			return errTried
		}
		for lane := range next {
			if next[lane] == nil {
				select {
				case next[lane] = <-f.ready[lane]:
				default:
				}
			}
		}
		if lane, ok := choose(&next, &owed); ok {
			p := next[lane]
			next[lane] = nil
			if f.send(lane, p) != nil {
				return <-f.over
			}
			select {
			case <-tick.C:
				if f.status() != nil {
					return <-f.over
				}
			case err := <-f.over:
				return err
			default:
			}
			continue
		}
		if drain == nil && f.idle() {
			return f.goodbye()
		}
		select {
		case next[live] = <-f.ready[live]:
		case next[backlog] = <-f.ready[backlog]:
		case <-tick.C:
			if f.status() != nil {
				return <-f.over
			}
		case <-f.moved:
		case <-drain:
			drain = nil
		case err := <-f.over:
			return err
		}
	}
}

// choose says whose turn it is. While both lanes have something, the backlog
// gets one byte for each three of the live lane; owed is what it has not had.
func choose(next *[lanes]*parcel, owed *int64) (lane int, ok bool) {
	now, old := next[live], next[backlog]
	switch {
	case now == nil && old == nil:
		return 0, false
	case now == nil:
		return backlog, true
	case old == nil:
		return live, true
	case *owed >= old.size:
		*owed -= old.size
		return backlog, true
	}
	*owed += now.size / (laneShare / restShare)
	return live, true
}

// idle: all that is in the log was read and taken.
func (f *flight) idle() bool {
	f.mu.Lock()
	behind, reached := f.behind, f.reached
	f.mu.Unlock()
	return !behind && f.room.empty() && reached >= f.e.set.Spool.Log().End()
}

// goodbye says where everything ended up.
func (f *flight) goodbye() error {
	if f.status() == nil && f.stream.CloseSend() == nil {
		select {
		case <-f.over:
		case <-time.After(goodbyeTime):
		}
	}
	return nil
}

func (f *flight) status() error {
	st := f.e.set.Status()
	// The analyzer concludes from it what may still come: it has to be this
	// destination's progress, whichever it is of the forwarder's.
	if s := st.GetSpool(); s != nil {
		s.ExportedOffset = f.e.cursor.Offset()
	}
	// The forwarder measures itself less often than it speaks.
	if st.GetTelemetry() == f.measured {
		st.Telemetry = nil
	} else {
		f.measured = st.GetTelemetry()
	}
	return f.stream.Send(&capturev1.ExportRequest{Kind: &capturev1.ExportRequest_Status{Status: st}})
}

func (f *flight) send(lane int, p *parcel) error {
	f.mu.Lock()
	f.sent[lane] = append(f.sent[lane], p)
	f.mu.Unlock()
	f.e.waits(true)
	// The bytes are the stream's from here on.
	frame := p.frame
	p.frame = nil
	return f.stream.Send(&capturev1.ExportRequest{Kind: &capturev1.ExportRequest_Frame{Frame: frame}})
}

// onWay lists what was sent and not acknowledged.
func (f *flight) onWay() []*parcel {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append(append([]*parcel(nil), f.sent[live]...), f.sent[backlog]...)
}

// listen takes acknowledgements until the stream ends, and says why it did.
func (f *flight) listen() error {
	for {
		resp, err := f.stream.Recv()
		if err != nil {
			return fmt.Errorf("connection ended: %w", err)
		}
		if ack := resp.GetStored(); ack != nil {
			f.acknowledge(ack)
		}
	}
}

// acknowledge takes from each lane what the analyzer has. It goes by what was
// sent: nobody can have anything else.
func (f *flight) acknowledge(ack *capturev1.ExportResponse_Ack) {
	var have spans
	have.add(span{0, ack.GetNextOffset()})
	for _, r := range ack.GetRanges() {
		have.add(span{r.GetFrom(), r.GetTo()})
	}
	left := 0
	var taken []*parcel
	f.mu.Lock()
	for lane := range f.sent {
		n := 0
		for n < len(f.sent[lane]) && have.covers(f.sent[lane][n].span) {
			n++
		}
		for _, p := range f.sent[lane][:n] {
			f.room.release(lane, p.size)
		}
		taken = append(taken, f.sent[lane][:n]...)
		f.sent[lane] = slices.Delete(f.sent[lane], 0, n)
		left += len(f.sent[lane])
	}
	f.mu.Unlock()
	f.e.took(taken...)
	if slices.ContainsFunc(taken, func(p *parcel) bool { return p.reason == "" }) {
		f.e.tookRecord()
	}
	f.e.waits(left > 0)
	f.poke()
}
