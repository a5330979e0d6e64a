// Package e2e holds the tests that start the real programs, as separate
// processes configured as a user would configure them, between clients and
// servers that nobody here wrote, and compare what the clients did with what
// the servers saw and with what the analyzer shows.
//
// The tests need the programs of Needs in main_test.go. WEIR_BIN names a
// folder with the programs of Weir; without it they are built first.
// WEIR_ARTIFACTS names the folder that keeps logs of failed tests and
// screenshots (default: artifacts/e2e in the repository).
package e2e
