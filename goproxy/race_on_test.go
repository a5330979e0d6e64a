//go:build race

package goproxy

// raceDetector: memory is not what it is without.
const raceDetector = true
