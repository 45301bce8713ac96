# What people and CI call. Every target that builds sets up first; setting up is quick when
# there is nothing to do.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.PHONY: help setup build run test lint wasm deny deployment bench soak broken fuzz compose-test api-check

# The crates without I/O: the browser runs them too.
PURE := -p stripe -p overlay-core -p media -p sim
WASM := wasm32-unknown-unknown
# How long make fuzz stays with each target.
SECONDS ?= 600

help:
	@echo 'make setup         install what is missing (Debian), or say what it is'
	@echo 'make run           the demo: a station, a broadcast, six viewers; Ctrl-C ends it'
	@echo 'make test          all tests'
	@echo 'make lint          format, clippy, the pure crates for WebAssembly, licences, deployment'
	@echo 'make bench         the measurements behind bench/RESULTS.md'
	@echo 'make fuzz          every fuzz target for SECONDS=600 each; needs a nightly toolchain'
	@echo 'make soak          half an hour (LIVESTATION_SECONDS) of coming and going'
	@echo 'make broken        faults built in on purpose, which the tests must notice; some minutes'
	@echo 'make api-check     what the API answers against its OpenAPI document; needs python3 and PyPI'
	@echo 'make compose-test  the compose file with a real docker engine; BASE_IMAGES=path makes base images'

setup:
	@scripts/setup

build: setup
	cargo build --locked -p livestation

run: setup
	@exec cargo run --locked -p livestation -- demo

# Without nextest the end-to-end tests run one after another; with it, .config/nextest.toml
# says the same.
test: setup wasm
	overlay/browser/check
	if cargo nextest --version >/dev/null 2>&1; then
	    cargo nextest run --locked --workspace
	else
	    cargo test --locked --workspace --exclude tests
	    cargo test --locked -p tests -- --test-threads=1
	fi

lint: setup wasm deny deployment
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings

wasm: setup
	@if [ -d "$$(rustc --print sysroot)/lib/rustlib/$(WASM)" ]; then
	    cargo check --locked --target $(WASM) $(PURE)
	else
	    echo 'wasm: left out, there is no Rust target $(WASM)'
	fi

deny:
	@if command -v cargo-deny >/dev/null; then
	    cargo deny --all-features check bans licenses sources
	else
	    echo 'deny: left out, there is no cargo-deny (cargo install --locked cargo-deny)'
	    [ -z "$${LIVESTATION_REQUIRE_TOOLS:-}" ]
	fi

# What can be said of compose and Kubernetes files without an engine and a cluster.
deployment: setup
	deploy/check
	k8s/check

bench: setup
	bench/run

fuzz: setup
	for target in fuzz/targets/*.rs; do
	    fuzz/run "$$(basename "$$target" .rs)" $(SECONDS)
	done

soak: setup
	bench/run soak

broken: setup
	tests/broken/run

api-check: build
	services/accounts/tests/api/check "$${CARGO_TARGET_DIR:-target}/debug/livestation"

compose-test:
	deploy/test/compose
