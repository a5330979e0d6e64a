//go:build !linux

package telemetry

func ofProcess() process { return process{} }
