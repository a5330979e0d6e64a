//go:build race

package redact_test

// raceDetector: memory has shadows, whose size says nothing.
const raceDetector = true
