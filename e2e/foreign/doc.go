// Package foreign puts goproxy between clients and servers that nobody here
// wrote, every one of the clients with every one of the servers, and sets what
// the clients saw, what the servers wrote into their logs and what the
// analyzer stored side by side.
//
// `make foreign` prints the whole table; `make test` runs Go, Python and Node
// against each other.
package foreign
