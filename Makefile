# Freshet. `make` lists what there is.

GO      ?= go
PKG     ?= ./...
BENCH   ?= .
FUZZTIME ?= 20s
# Test binaries that run at once: each of the larger ones uses more than one core by itself.
PARALLEL ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo build test short lint bench calibrate fuzz generate deps

help: ## Say what each target does
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Without cgo and without what reaches buckets, which the demo has no use for: a build from nothing takes minutes, and they a quarter of it.
demo: ## Run the whole plane in one process with the flights of 2013
	@echo "Building freshet, which takes some minutes the first time ..."
	@CGO_ENABLED=0 $(GO) run -tags nobuckets . demo

build: ## Build bin/freshet, and bin/freshet-sql, which has embedded SQL and needs cgo
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/freshet .
	CGO_ENABLED=1 $(GO) build -trimpath -tags duckdb -o bin/freshet-sql .

test: deps lint ## Vet, lint and test everything under the race detector, with a real Kafka and Redis
	FRESHET_REQUIRE_SERVICES=1 $(GO) run ./internal/testenv/cmd/services -- \
		$(GO) test -race -vet=off -p $(PARALLEL) -timeout 15m $(PKG)
	CGO_ENABLED=1 $(GO) test -vet=off -tags duckdb ./internal/cli -run 'SQL|Demo'
	$(GO) test -vet=off ./monitors/profile -run CategoriesWithoutEnd

short: ## Test quickly, without the race detector; what needs a missing service is skipped
	$(GO) test -vet=off -p $(PARALLEL) $(PKG)

lint: ## Check formatting, vet, staticcheck and the project's own rules
	@files=$$($(GO) tool gofumpt -l .); if [ -n "$$files" ]; then echo "not formatted (go tool gofumpt -w .):"; echo "$$files"; exit 1; fi
	$(GO) vet $(PKG)
	$(GO) build -tags nobuckets ./offline/parquet
	$(GO) tool staticcheck $(PKG)
	$(GO) test -vet=off ./internal/lint

bench: ## Run the benchmarks (BENCH=regexp, PKG=./package)
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem $(PKG)

calibrate: ## Draw the calibration experiment anew and write docs/calibration.md; takes more than half an hour
	$(GO) run ./monitors/calibrate/cmd/calibrate

# What is found is made smaller by a few tries only: else that takes up the time wherever one execution covers other code than the next.
fuzz: ## Run every fuzz target for FUZZTIME
	@grep -rlE '^func Fuzz' --include='*_test.go' . | xargs -n 1 dirname | sort -u | while read -r dir; do \
		for target in $$(grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$$dir"/*_test.go | cut -c 6-); do \
			echo "$$dir $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x "$$dir" || exit 1; \
		done; \
	done

generate: ## Write generated files anew
	$(GO) generate $(PKG)

deps: ## Install what the tests need and this machine lacks
	@.ci/deps
