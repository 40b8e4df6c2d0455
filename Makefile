SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help dev cluster test chaos backlog upgrade fuzz check fmt bench bench-embedded bench-nodes bench-stored soak

CARGO ?= cargo
ARGS ?=
MESSAGES ?= 10000000
PROFILE ?= release
SCRIPTS := .ci/run $(wildcard tests/services/*.sh tests/tools/*.sh tests/fuzz/*.sh)

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo '  ARGS="..." is handed on, as in: make dev ARGS="--help", make test ARGS="-p ledger"'

dev: ## Run Herald in one process, with nothing to install; state is kept in .herald/.
	$(CARGO) run --release -- dev $(ARGS)

cluster: ## Run the cluster that the tests break, for you to break: two API nodes, two workers, PostgreSQL, NATS, Redis.
	$(CARGO) test --profile $(PROFILE) -p herald --test it --no-run
	@trap '' INT; $(CARGO) test -q --profile $(PROFILE) -p herald --test it cluster::for_a_person -- --exact --ignored --nocapture --test-threads 1

# Stories wait more than they work.
test: export RUST_TEST_THREADS ?= 3
test: ## Run all tests; finds, starts or installs the servers they need.
	@grpcurl="$$(tests/tools/ensure.sh grpcurl)"; oracle="$$(tests/tools/ensure.sh sms-oracle)"; \
	HERALD_TEST_GRPCURL="$$grpcurl" HERALD_TEST_SMS_ORACLE="$$oracle" tests/services/with-services.sh $(CARGO) test $(if $(findstring -p ,$(ARGS)),,--workspace --features herald/faults) $(ARGS)

chaos: ## Kill, hang and wipe the parts of a cluster under load for five minutes; CHAOS_SECONDS=60 for one.
	HERALD_TEST_CHAOS_SECONDS=$(or $(CHAOS_SECONDS),300) tests/services/with-services.sh \
	$(CARGO) test -p herald --features faults --test it chaos::whatever -- --nocapture

backlog: ## Lose the ids of a million queued messages, and count what it takes to send them; BACKLOG=50000 for fewer.
	$(CARGO) build --release -p herald --bin herald
	HERALD_TEST_BACKLOG=$(or $(BACKLOG),1000000) HERALD_TEST_BINARY=$(CURDIR)/target/release/herald \
	tests/services/with-services.sh $(CARGO) test -p herald --features faults --test it chaos::backlog -- --nocapture

upgrade: ## Replace the nodes of a cluster under load, from the version at the git revision OLD to this one.
	@old="$$(CARGO="$(CARGO)" tests/tools/herald-at.sh "$(or $(OLD),HEAD)")"; \
	HERALD_TEST_OLD_BINARY="$$old" tests/services/with-services.sh $(CARGO) test -p herald --features faults --test it upgrade:: -- --nocapture

fuzz: ## Fuzz what reads untrusted bytes, a minute each; ARGS="600 parts" for ten minutes of one target.
	CARGO="$(CARGO)" tests/fuzz/run.sh $(ARGS)

check: ## Formatting, lints, licences, the proto's style, the scripts, compose.yaml and Dockerfile.
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path tests/fuzz/Cargo.toml --check
	$(CARGO) clippy --locked --workspace --features herald/faults --all-targets -- -D warnings
	$(CARGO) clippy --locked -p herald -- -D warnings
	@deny="$$(tests/tools/ensure.sh cargo-deny)"; \
	"$$deny" --locked check --hide-inclusion-graph licenses bans sources
	@buf="$$(tests/tools/ensure.sh buf)"; "$$buf" lint proto
	@compose="$$(tests/tools/ensure.sh compose)"; "$$compose" compose.yaml >/dev/null
	@hadolint="$$(tests/tools/ensure.sh hadolint)"; "$$hadolint" Dockerfile
	@if command -v shellcheck >/dev/null; then shellcheck -x $(SCRIPTS); else echo 'shellcheck is not installed: scripts not linted'; fi

fmt: ## Format the Rust code.
	$(CARGO) fmt --all
	$(CARGO) fmt --manifest-path tests/fuzz/Cargo.toml

bench: ## Measure the standard set and tell it in docs/performance.md; BENCH_SECONDS=2 to try it, BENCH_AGAIN=1 to repeat it.
	$(CARGO) build --release -p herald -p store-postgres -p store-sqlite -p bench-report \
	--bin herald --bin bench-report --example bare_postgres --example bare_sqlite
	tests/services/with-services.sh tests/tools/bench-set.sh target/release

bench-embedded: ## One run of the embedded server, beside bare SQLite with the same rows; ARGS="--rate 500" and others.
	$(CARGO) build --release -p herald -p store-sqlite --bin herald --example bare_sqlite
	target/release/herald bench --bare-sqlite target/release/examples/bare_sqlite $(ARGS)

bench-nodes: ## The same of nodes on PostgreSQL, NATS and Redis; ARGS="--by stream --clients 1000" and others.
	$(CARGO) build --release -p herald -p store-postgres --bin herald --example bare_postgres
	tests/services/with-services.sh tests/tools/bench-nodes.sh target/release/herald \
	--bare-postgres target/release/examples/bare_postgres $(ARGS)

# 2.5 kB of disk for each message. A fill that was stopped goes on.
bench-stored: ## The same on a database that has ten million messages already, made once and kept; MESSAGES=1000000 READS=100.
	$(CARGO) build --release -p herald -p store-postgres --bin herald --example bare_postgres --example fill_postgres
	tests/tools/kept.sh target/bench-stored/$(MESSAGES) $$(($(MESSAGES) / 400000)) tests/tools/bench-stored.sh \
	target/bench-stored/$(MESSAGES)/installation target/release $(MESSAGES) --reads $(or $(READS),100) $(ARGS)

# 5 kB of disk for each message.
soak: ## 1,000 messages/s for half an hour on a kept database, and how its tables fare; SOAK_SECONDS=300 RATE=500.
	$(CARGO) build --release -p herald -p store-postgres --bin herald --example table_health
	tests/tools/kept.sh target/soak 10 tests/services/with-services.sh tests/tools/bench-nodes.sh target/release/herald \
	--installation target/soak/installation --rate $(or $(RATE),1000) --concurrency 1000 --duration $(or $(SOAK_SECONDS),1800) \
	--soak target/soak/samples.jsonl --tables target/release/examples/table_health $(ARGS)
