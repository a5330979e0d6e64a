//go:build !linux

// Command backend is for Linux; see package epoll.
package main

func main() { panic("the benchmark runs on Linux only") }
