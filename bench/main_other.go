//go:build !linux

// Command bench is for Linux: it counts CPU time as that kernel does.
package main

func main() { panic("the benchmark runs on Linux only") }
