// Package canary has secrets, the places and ways of writing that HTTP has for
// them, and the search for them in every byte that programs left: files, logs,
// metrics, answers of the API, exports, and what a dying process prints. Its
// own tests send them through the real programs with the standard rules on;
// those of package fault have them beside every load, in every fault.
package canary
