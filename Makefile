# Weir. `make help` lists the targets.
#
# Needed on the machine: Go, Node with npm, a C and a C++ compiler, git.
# Everything else is installed by the targets that need it, or named.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

MODULE     := github.com/weir-capture/weir
# With the "v" that the log lines of the guide have, also where no tag is.
VERSION    ?= $(shell git describe --tags --dirty 2>/dev/null || echo v0.0.0-$$(git describe --always --dirty 2>/dev/null || echo dev))
# The commit's time, so that two builds of one commit are the same.
BUILD_TIME ?= $(shell git log -1 --date=format-local:%Y-%m-%d_%I:%M:%S%p --format=%cd 2>/dev/null || echo unknown)
LDFLAGS    := -s -w -X $(MODULE)/daemon.Version=$(VERSION) -X $(MODULE)/daemon.BuildTime=$(BUILD_TIME)
GO_TOOL    := go tool -modfile=tools/go.mod
BUF        := tools/node_modules/.bin/buf
ARGS       ?=
FUZZTIME   ?= 30s

# goproxy and forwarder are pure Go. analyzer and weir hold DuckDB, a C++
# library, which is linked in statically; the linker's remarks that glibc would
# want its own shared libraries for name look-ups are left out: Go's resolver
# is compiled in, and DuckDB is not let out of its directory.
# TAGS adds build tags to all of them.
TAGS   :=
PURE    = CGO_ENABLED=0 go build -trimpath -tags '$(TAGS)' -ldflags '$(LDFLAGS)'
STATIC  = CGO_ENABLED=1 go build -trimpath -tags 'osusergo netgo $(TAGS)' -ldflags '$(LDFLAGS) -linkmode external -extldflags "-static"'
QUIET  := 2>&1 | sed -E '/^\/.*ld: .* in function|statically linked applications requires|^\# $(subst /,\/,$(MODULE))/d'

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ui ## all programs into bin/
	@mkdir -p bin
	$(PURE) -o bin/goproxy ./cmd/goproxy
	$(PURE) -o bin/forwarder ./cmd/forwarder
	$(STATIC) -o bin/analyzer ./cmd/analyzer $(QUIET)
	$(STATIC) -o bin/weir ./cmd/weir $(QUIET)

.PHONY: demo
demo: build ## a sample application with traffic, captured and shown (ARGS=--once verifies and exits)
	./bin/weir demo $(ARGS)

.PHONY: test
test: ## everything that CI checks; prints what each room took
	@scripts/test

.PHONY: test-all
test-all: ## test, and what takes longer: more rounds of every end-to-end test
	@WEIR_TEST_ALL=1 scripts/test

.PHONY: check
check: tools/node_modules/.stamp ui/node_modules/.stamp ## generated files current, format, vet, lint, types; no tests
	@scripts/check

.PHONY: lint
lint: ## vet and staticcheck
	go vet ./...
	$(GO_TOOL) staticcheck ./...

.PHONY: fmt
fmt: ## format all Go code
	$(GO_TOOL) gofumpt -l -w $$(git ls-files '*.go' | grep -v '\.pb\.go$$')

.PHONY: generate
generate: tools/node_modules/.stamp ui/node_modules/.stamp ## protobuf code, OpenAPI, the viewer's types
	$(BUF) lint
	$(BUF) generate
	go test ./analyzer/web -run TestOpenAPI -update
	cd ui && npm run --silent generate

.PHONY: ui
ui: ui/dist/index.html ## the viewer's build, embedded by analyzer and weir

ui/dist/index.html: ui/node_modules/.stamp $(shell git ls-files --cached --others --exclude-standard ui 2>/dev/null | grep -v '\.go$$' | tr ' ' '?')
	cd ui && npm run --silent build
	@touch $@

.PHONY: ui-dev
ui-dev: ui/node_modules/.stamp ## the viewer with hot reload, against WEIR_API (default http://127.0.0.1:4190)
	cd ui && npm run dev

.PHONY: e2e
e2e: build ## the end-to-end tests against the real binaries
	@scripts/system-packages
	WEIR_BIN=$(CURDIR)/bin go test -v -count=1 -timeout 20m ./e2e/... $(ARGS) 2>&1 | grep -v '^=== '

.PHONY: fault
fault: TAGS := failpoints
fault: ui ## every fault of the promises, with programs that fail on purpose; prints what became of each pair
	@mkdir -p bin/fault
	$(PURE) -o bin/fault/goproxy ./cmd/goproxy
	$(PURE) -o bin/fault/forwarder ./cmd/forwarder
	$(STATIC) -o bin/fault/analyzer ./cmd/analyzer $(QUIET)
	$(STATIC) -o bin/fault/weir ./cmd/weir $(QUIET)
	@scripts/fault

.PHONY: soak
soak: build ## an hour of mixed load with broken connections; judges memory, errors, the ledger (ARGS=-for=10m)
	WEIR_BIN=$(CURDIR)/bin go test -v -count=1 -timeout 0 ./e2e/soak -run TestSoak -args -for=1h $(ARGS)

.PHONY: foreign
foreign: build ## every server and client of others that is installed, through goproxy: a table of differences
	@WITH_FOREIGN=1 ALLOW_MISSING=1 scripts/system-packages
	WEIR_BIN=$(CURDIR)/bin go test -v -count=1 -timeout 20m ./e2e/foreign -run TestForeign -args -all $(ARGS)

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (30s)
	@scripts/fuzz $(FUZZTIME)

.PHONY: bench
bench: bench-programs ## what carrying and capturing cost, beside HAProxy (at most 15 min; ARGS: -h lists flags)
	./bin/bench/bench -bin bin/bench $(ARGS)

.PHONY: bench-all
bench-all: bench-programs ## the same with all peers and cases (at most 60 min); writes bench/RESULTS.md
	./bin/bench/bench -bin bin/bench -all -out bench $(ARGS)

.PHONY: bench-programs
bench-programs:
	@WITH_PEERS=1 ALLOW_MISSING=1 scripts/system-packages
	@mkdir -p bin/bench
	$(PURE) -o bin/bench ./bench ./bench/backend ./bench/load ./bench/reverseproxy ./cmd/goproxy ./cmd/forwarder

.PHONY: bench-store
bench-store: ## what keeping and finding pairs costs, 1 M and 10 M, beside DuckDB and SQLite (at most 90 min; ARGS="-pairs 50000" is quick, "-out bench" writes RESULTS-store.md)
	@mkdir -p bin/bench
	$(PURE) -o bin/bench ./cmd/forwarder
	$(STATIC) -o bin/bench ./cmd/analyzer $(QUIET)
	go build -trimpath -o bin/bench/store ./bench/store
	./bin/bench/store -bin bin/bench $(ARGS)

.PHONY: bench-rooms
bench-rooms: ## Go benchmarks of the rooms, with allocations
	go test -run '^$$' -bench . -benchmem ./...

%/node_modules/.stamp: %/package-lock.json
	cd $* && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@
