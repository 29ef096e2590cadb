# Run `make` for the list of targets. Each works without Docker.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup run build test check lint fmt nocgo tidy fuzz bench chaos chaos-delivery clean

# The ONNX Runtime library that deploy/setup.sh installs, unless another is named.
export XACAM_ORT_LIBRARY ?= $(CURDIR)/.cache/ort/libonnxruntime.so

# Its own cache for each checkout: results from another one carry that one's paths.
export GOLANGCI_LINT_CACHE ?= $(CURDIR)/.cache/golangci-lint

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
FUZZTIME ?= 10m
BENCH ?= .
BENCHTIME ?= 1s
TESTFLAGS ?= -timeout 10m
LINT := .cache/bin/golangci-lint

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what build, run and test need (Debian packages, ONNX Runtime)
	@deploy/setup.sh test

run: ## install what is needed, build, fetch the detector and start the demo
	@deploy/setup.sh run
	@$(MAKE) --no-print-directory build
	@exec bin/xacam demo

build: ## compile bin/xacam
	go build -ldflags '-X main.version=$(VERSION)' -o bin/xacam ./cmd/xacam

# Packages that reach one of the three cgo modules run without the race
# detector: it would instrument OpenCV's wrapper for minutes and find nothing in
# C++. So do those that only compute on pixels.
test: ## install what is needed, then run all tests with PostgreSQL, ONNX Runtime and the race detector
	@deploy/setup.sh test
	@export REQUIRE_DATABASE=1 REQUIRE_ORT=1; \
	native="$$(deploy/packages.sh native) $$(deploy/packages.sh pixels)"; pure=$$(deploy/packages.sh pure); failed=0; \
	[[ -z $$pure ]] || { echo "go test -race (packages without C)"; go test -race $(TESTFLAGS) $$pure || failed=1; }; \
	[[ -z $$native ]] || { echo "go test (packages with C)"; go test $(TESTFLAGS) $$native || failed=1; }; \
	exit $$failed

check: ## what CI runs: format, lint, the build without C, tidy, all tests
	@.ci/run

lint: ## format check and golangci-lint
	@deploy/setup.sh lint
	@$(LINT) fmt --diff
	@$(LINT) run ./...

fmt: ## format the Go files in place
	@deploy/setup.sh lint
	@$(LINT) fmt

nocgo: ## vet and test without a C compiler
	CGO_ENABLED=0 go vet ./...
	CGO_ENABLED=0 go test $(TESTFLAGS) ./...

tidy: ## fail where go.mod or go.sum is not tidy
	go mod tidy -diff

fuzz: ## run every fuzz target for FUZZTIME (10m) each
	@failed=; for dir in $$(deploy/packages.sh fuzz); do \
	for name in $$(go test -list '^Fuzz' "$$dir" | grep '^Fuzz'); do \
	echo "== $$dir $$name"; \
	go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "$$dir" || failed+=" $$dir:$$name"; \
	done; done; \
	[[ -z $$failed ]] || { echo "fuzz targets that failed:$$failed"; exit 1; }

bench: ## run the Go benchmarks that match BENCH (.)
	go test -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -benchmem $$(deploy/packages.sh bench)

chaos: ## stop PostgreSQL for a minute and kill -9 the server 20 times under load: nothing may be lost (5 min)
	@deploy/setup.sh test
	@REQUIRE_DATABASE=1 REQUIRE_ORT=1 go test -tags chaos -run '^TestChaos(Kill|Outage)' -count 1 -timeout 15m -v ./cmd/xacam

chaos-delivery: ## kill -9 server, PostgreSQL and receiver 100 times under 50 events/s: everything arrives, in order (10 min)
	@deploy/setup.sh test
	@REQUIRE_DATABASE=1 REQUIRE_ORT=1 go test -tags chaos -run '^TestChaosDelivery' -count 1 -timeout 40m -v ./cmd/xacam

clean: ## remove bin; what setup installed stays in .cache
	rm -rf bin
