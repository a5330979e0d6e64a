package protocol

import "testing"

// burns says whether n can be burnt.
func burns(f *Fuel, n int) (ok bool) {
	defer func() {
		if v := recover(); v != nil {
			ok = v != ErrFuel
		}
	}()
	f.Burn(n)
	return true
}

func TestR23FuelIsWhatTheInputIsWorth(t *testing.T) {
	for _, c := range []struct {
		name  string
		fills []int
		worth int
	}{
		{"a call", []int{0}, fuelPerCall},
		{"bytes", []int{1000}, fuelPerCall + 1000*fuelPerByte},
		{"bytes one by one", []int{1, 1, 1}, 3 * (fuelPerCall + fuelPerByte)},
		{"much at once", []int{10 << 20}, fuelPerCall + 10<<20*fuelPerByte},
		{"what was saved is bounded", []int{10 << 20, 10 << 20, 1}, fuelReserve + fuelPerCall + fuelPerByte},
	} {
		var f Fuel
		for _, n := range c.fills {
			f.Fill(n)
		}
		if !burns(&f, c.worth) {
			t.Errorf("%s: not worth %d", c.name, c.worth)
		}
		if burns(&f, 1) {
			t.Errorf("%s: worth more than %d", c.name, c.worth)
		}
	}
}

// TestR23AHeadByteByByte: what a decoder does once, at the end of what came
// slowly, is paid by what came.
func TestR23AHeadByteByByte(t *testing.T) {
	var f Fuel
	for range MaxHeld {
		f.Fill(1)
		if !burns(&f, 1) {
			t.Fatal("a byte cannot be kept")
		}
	}
	if !burns(&f, 8*MaxHeld) {
		t.Error("what is held cannot be looked through eight times")
	}
}

// spinner is a decoder that goes on for ever wherever it is called.
type spinner struct {
	fuel  *Fuel
	turns int
}

func (s *spinner) spin() error {
	for {
		s.fuel.Burn(1)
		s.turns++
	}
}

func (s *spinner) Data(Direction, Time, []byte) error { return s.spin() }
func (s *spinner) Gap(Direction, Time, int64) error   { return s.spin() }
func (s *spinner) Close(Direction, Time, bool) error  { return s.spin() }
func (s *spinner) Held() int                          { return 0 }

func TestR23ADecoderThatSpinsEnds(t *testing.T) {
	for name, call := range map[string]func(Decoder) error{
		"data":  func(d Decoder) error { return d.Data(ClientToServer, 0, make([]byte, 100)) },
		"gap":   func(d Decoder) error { return d.Gap(ClientToServer, 0, 1<<60) },
		"close": func(d Decoder) error { return d.Close(ClientToServer, 0, true) },
	} {
		t.Run(name, func(t *testing.T) {
			var s *spinner
			d := Drive(func(_ Sink, fuel *Fuel) Decoder { s = &spinner{fuel: fuel}; return s }, nil)
			defer func() {
				if v := recover(); v != ErrFuel {
					t.Errorf("it ended with %v", v)
				}
				if most := 2*fuelPerCall + 100*fuelPerByte; s.turns > most {
					t.Errorf("it turned %d times, and has fuel for %d", s.turns, most)
				}
			}()
			t.Errorf("it returned: %v", call(d))
		})
	}
}
