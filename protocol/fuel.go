package protocol

import "errors"

// MaxHeld is how many bytes of both directions together a decoder may keep
// because they are no message yet.
const MaxHeld = 128 << 10

// ErrFuel is what Burn panics with: the decoder does more than its input is
// worth. Whoever drives the decoder ends it.
var ErrFuel = errors.New("the decoder ran out of fuel")

const (
	// fuelPerByte is how often a byte may be looked at, kept or copied on its
	// way, with room to spare: http1 needs less than a third of it.
	fuelPerByte = 16
	// fuelPerCall is what a call may do for what came before: end the messages
	// that are open, skip what is missing.
	fuelPerCall = 4 << 10
	// fuelReserve bounds what is saved up. All that a decoder may still have to
	// look at is what it holds.
	fuelReserve = fuelPerByte * MaxHeld
)

// Fuel bounds the work of one decoder, so that it is linear in its input
// whoever wrote it, and a decoder that runs away ends after a few milliseconds
// at most. Whoever drives a decoder fills the tank for each call (Fill); the
// decoder burns as it goes (Burn): one for each turn of a loop whose end its
// input does not set, and as many as there are bytes for each further time
// that it looks through them. A loop over a slice needs no fuel of its own, so
// nothing is counted byte by byte.
//
// That no loop goes without is held by a test over the source of all decoders
// (protocol/protocols), which also holds them to never wait for anything.
type Fuel struct{ left int }

// Fill gives the fuel that n more bytes are worth, n being 0 for a call
// without any. What was not burnt before is kept, up to a bound.
func (f *Fuel) Fill(n int) {
	f.left = min(f.left, fuelReserve) + fuelPerCall + fuelPerByte*n
}

// Burn takes n from the tank. It panics with ErrFuel when there is not enough:
// a decoder cannot go on by ignoring it.
func (f *Fuel) Burn(n int) {
	if f.left -= n; f.left < 0 {
		panic(ErrFuel)
	}
}

// Driver drives the decoder of one connection: it fills its tank for each
// call. It is a Decoder itself, whose methods panic when the decoder's do, and
// with ErrFuel when that runs away.
type Driver struct {
	decoder Decoder
	fuel    Fuel
}

// Drive makes a decoder that reports to sink, and its driver.
func Drive(make func(Sink, *Fuel) Decoder, sink Sink) *Driver {
	d := new(Driver)
	d.fuel.Fill(0)
	d.decoder = make(sink, &d.fuel)
	return d
}

// Data implements Decoder.
func (d *Driver) Data(dir Direction, at Time, b []byte) error {
	d.fuel.Fill(len(b))
	return d.decoder.Data(dir, at, b)
}

// Gap implements Decoder.
func (d *Driver) Gap(dir Direction, at Time, n int64) error {
	d.fuel.Fill(0)
	return d.decoder.Gap(dir, at, n)
}

// Close implements Decoder.
func (d *Driver) Close(dir Direction, at Time, clean bool) error {
	d.fuel.Fill(0)
	return d.decoder.Close(dir, at, clean)
}

// Held implements Decoder.
func (d *Driver) Held() int { return d.decoder.Held() }
