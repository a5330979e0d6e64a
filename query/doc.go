// Package query is the query language: one for the viewer, the API, the
// command line, the forwarder's filters and the scope of redaction rules.
//
//	status:5xx -path:/health* duration:>200ms method:(GET POST) body:"card declined"
//
// Parse turns text into a small tree of exported nodes, which a store compiles
// to its own language, or explains with one Error that names a column.
// Query.Matcher decides for a pair in memory. Both must agree: package
// querytest holds the table of cases that each compiler has to pass.
//
// docs/query-language.md is the page for users.
package query
