//go:build !linux

package main

func main() { panic("the benchmark runs on Linux only") }
