// Package fault holds the promises about faults as tests, named after their
// numbers: programs that are killed at any moment and at each of their fail
// points, stopped, cut off, or given disks that are full, fail or flip bits,
// under a load of which the ledger knows every request. Whatever happens, each
// pair is stored once or its loss is declared.
//
// The tests run in two forms. In CI each takes some seconds. With WEIR_FAULT=1
// (`make fault`) rounds and times are those of the promises, programs are built
// with the tag failpoints, and the promises that take longer are run too.
package fault
