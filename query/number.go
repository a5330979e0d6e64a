package query

import (
	"errors"
	"math/big"
	"strconv"
	"strings"
)

var (
	errNoUnit   = errors.New("no unit")
	errUnit     = errors.New("unknown unit")
	errNumber   = errors.New("not a number")
	errFraction = errors.New("not a whole number of the smallest unit")
	errTooLarge = errors.New("too large")
)

// parseUnits reads a number with a unit, exactly: 1.5KiB is 1536. Where many
// is set, several may follow each other: 1m30s. Units have any case.
func parseUnits(s string, units []unit, many bool) (int64, error) {
	if s == "" || len(s) > 64 {
		return 0, errNumber
	}
	sum := new(big.Rat)
	for first := true; s != ""; first = false {
		if !first && !many {
			return 0, errUnit
		}
		digits := s[:len(s)-len(strings.TrimLeft(s, "0123456789."))]
		if !isDecimal(digits) {
			return 0, errNumber
		}
		s = s[len(digits):]
		name := s
		if i := strings.IndexAny(s, "0123456789."); i >= 0 {
			name = s[:i]
		}
		s = s[len(name):]
		size, err := unitSize(name, units)
		if err != nil {
			return 0, err
		}
		n, _ := new(big.Rat).SetString(digits)
		sum.Add(sum, n.Mul(n, new(big.Rat).SetInt64(size)))
	}
	switch {
	case !sum.IsInt():
		return 0, errFraction
	case !sum.Num().IsInt64():
		return 0, errTooLarge
	}
	return sum.Num().Int64(), nil
}

func unitSize(name string, units []unit) (int64, error) {
	for _, u := range units {
		if lower(u.name) == lower(name) {
			return u.size, nil
		}
	}
	if name == "" {
		return 0, errNoUnit
	}
	return 0, errUnit
}

// isDecimal reports whether s is digits, with a point and digits or without.
func isDecimal(s string) bool {
	whole, fraction, point := strings.Cut(s, ".")
	digits := func(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
	return digits(whole) && (!point || digits(fraction))
}

// decimal reads a decimal number without exponent.
func decimal(s string) (float64, bool) {
	if !isDecimal(strings.TrimLeft(s, "+-")) || len(strings.TrimLeft(s, "+-")) < len(s)-1 {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil
}
