// Package canary sends secrets through the real programs with the standard
// rules on, in every place and every way of writing that HTTP has for them, and
// then looks for them in every byte that the programs left: files, logs,
// metrics, answers of the API, exports, and what a dying process prints.
package canary
