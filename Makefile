# Two commands matter: `make run` and `make test`. `make help` lists all.
.DEFAULT_GOAL := help
.PHONY: help run test check test-ledger test-e2e bench soak diagrams fuzz format clean env env-dev env-fuzz packages

BIN := .venv/bin

# Files of tests run beside each other, one more than this machine has processors, for some of them wait; empty:
# one after the other. Their order is that of tests/conftest.py.
IN_ORDER := --dist loadfile --no-loadscope-reorder
SIDE_BY_SIDE ?= -n $(shell expr `getconf _NPROCESSORS_ONLN` + 1) $(IN_ORDER)

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-20s %s\n", $$1, $$2}'

run: env ## install what is needed and run the demo: the proxy with a simulated PBX and provider, until Ctrl-C
	@exec $(BIN)/trunkwarden demo

test: packages ## everything: make check, then the ledger on real servers, then end to end
	@$(MAKE) --no-print-directory check
	@$(MAKE) --no-print-directory test-ledger
	@$(MAKE) --no-print-directory test-e2e
	@$(BIN)/python tools/summary.py unit ledger e2e alone

check: env-dev ## format, lint, strict types, import contracts, unit tests
	@$(BIN)/ruff format --check --quiet . || { echo 'trunkwarden: run make format' >&2; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@tools/test_stage.sh unit $(SIDE_BY_SIDE) tests --ignore=tests/ledger --ignore=tests/e2e

test-ledger: env-dev packages ## the ledger's tests, on redis-server and on the embedded server
	@tools/test_stage.sh ledger $(SIDE_BY_SIDE) tests/ledger

test-e2e: env-dev packages ## the end-to-end tests: SIPp and other peers against the running program
	@tools/test_stage.sh e2e $(SIDE_BY_SIDE) -m 'not alone' tests/e2e
	@tools/test_stage.sh alone -m alone tests/e2e

bench: env-dev packages ## what a call costs, beside Kamailio where that is installed (ARGS='--help' lists the options)
	@$(BIN)/python -m benchmarks.bench_calls $(ARGS)

soak: env-dev packages ## for some 25 minutes: overload, thousands of held calls (HELD=10000), long runs of the ledger's tests
	@$(BIN)/python -m benchmarks.overload $(ARGS)
	@$(BIN)/python -m benchmarks.held_calls $(if $(HELD),--calls $(HELD))
	@TRUNKWARDEN_LEDGER_RUNS=500 $(BIN)/python -m pytest -q --timeout 3600 tests/ledger/test_state_machine.py
	@TRUNKWARDEN_LEDGER_ADDITIONS=1000000 $(BIN)/python -m pytest -q tests/ledger/test_lua.py -k additions
	@TRUNKWARDEN_LEDGER_HISTORY=200000 $(BIN)/python -m pytest -q tests/ledger/test_history.py
	@TRUNKWARDEN_ADOPTED_CALLS=300 $(BIN)/python -m pytest -q tests/e2e/test_adoption.py -k killed
	@TRUNKWARDEN_KILL_POINTS=all $(BIN)/python -m pytest -q tests/e2e/test_kill_points.py
	@TRUNKWARDEN_WAIT_FOR_SESSIONS=1 $(BIN)/python -m pytest -q tests/e2e/test_session_timers.py
	@TRUNKWARDEN_PARTITION_SECONDS=60 $(BIN)/python -m pytest -q tests/e2e/test_slow_ledger.py
	@TRUNKWARDEN_BURSTS=20 $(BIN)/python -m pytest -q tests/e2e/test_limits_over_instances.py

fuzz: env-fuzz packages ## a million changed messages for the parser, and more; other readers beside ours (ARGS='--help')
	@$(BIN)/python -m tests.fuzz.run $(ARGS)

diagrams: env-dev ## draw docs/state-diagrams.md from the tables in the code
	@$(BIN)/python tools/state_diagrams.py

format: env-dev ## format the code and fix what the linter can fix
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean: ## remove the environment, caches and reports
	rm -rf .venv .reports build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

env:
	@tools/environment.sh run

env-dev:
	@tools/environment.sh dev

env-fuzz:
	@tools/environment.sh fuzz

packages:
	@tools/debian_packages.sh
