//go:build !linux

// Package epoll is for Linux: the benchmark counts CPU time as its kernel does.
package epoll
