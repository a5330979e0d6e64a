//go:build race

package redact_test

// raceDetector: memory has shadows, whose size says nothing.
const raceDetector = true

// slower is how much: what is long is shorter by that, and may take longer.
const slower = 8
