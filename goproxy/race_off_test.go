//go:build !race

package goproxy

const raceDetector = false
