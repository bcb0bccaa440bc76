# Everything from nothing: each target makes the environment it needs. `make help` lists them.

SHELL := /bin/sh
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# Each worker starts stacks of its own, so more workers than cores make the tests slower.
WORKERS ?= 2
BENCH ?= $(sort $(wildcard tests/benchmarks/*.py))
PYTEST := $(BIN)/pytest $(ARGS)

# Under pip and npm nothing may wait for a person.
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1

.PHONY: help demo dev test check lint format types imports node unit contract database integration chaos docs bench build clean

help: ## what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# --- environment ----------------------------------------------------------------------------------------------------

# The first interpreter that really is 3.11 or newer: a version manager's shim may exist and yet not run.
$(BIN)/python:
	@for python in "$$PYTHON" python3 python3.13 python3.12 python3.11 python3.14 python; do \
	  if [ -n "$$python" ] && "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "Making $(VENV) with $$("$$python" --version)"; \
	    "$$python" -m venv $(VENV) && exit 0; \
	    echo "This Python cannot make environments; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; \
	  fi; \
	done; \
	echo "No Python 3.11 or newer was found; install one, or name it: make PYTHON=/path/to/python3" >&2; exit 1

# One stamp for each set of packages, older than pyproject.toml when that asks for something else.
$(VENV)/.cli: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[cli]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $(VENV)/.cli $@

# --- running it -----------------------------------------------------------------------------------------------------

demo: $(VENV)/.cli ## a whole live room on this machine; options: make demo ARGS="--seconds 20"
	@$(BIN)/whatssound demo $(ARGS)

dev: $(VENV)/.cli ## the local stack on port 54321, for apps; options by ARGS
	@$(BIN)/whatssound dev $(ARGS)

# --- proving it -----------------------------------------------------------------------------------------------------

test: check node ## everything, from nothing
	$(PYTEST) -n $(WORKERS) --dist loadfile tests

check: lint types imports ## everything that reads the code without running it

lint: $(VENV)/.dev ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.dev ## put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# pyright is a Node program. Its wheel uses the machine's Node or fetches one; where neither is to be had, mypy has
# still seen everything, so only a run that must prove all (WHATSSOUND_REQUIRE_ALL=1) fails.
types: $(VENV)/.dev ## mypy --strict on everything, pyright --strict on the public API
	$(BIN)/mypy
	@if $(BIN)/pyright --version >/dev/null 2>&1; then \
	  echo "$(BIN)/pyright"; $(BIN)/pyright; \
	elif [ "$$WHATSSOUND_REQUIRE_ALL" = 1 ]; then \
	  echo "pyright cannot start: it needs Node.js" >&2; $(BIN)/pyright --version; exit 1; \
	else \
	  echo "pyright skipped: it needs Node.js"; \
	fi

imports: $(VENV)/.dev ## the layers of the design
	$(BIN)/lint-imports

# The TypeScript side of the tests; the tests that need it skip themselves, saying why, where it is missing. Not `npm ci`:
# it refuses a lock file without the binaries of other platforms, which some registries do not carry.
node: ## supabase-js, the Supabase CLI and Deno for the interop tests, where Node.js is there
	@cd tests/interop; \
	if [ node_modules/.package-lock.json -nt package-lock.json ]; then exit 0; fi; \
	if command -v npm >/dev/null 2>&1; then \
	  echo "npm install in tests/interop"; \
	  npm install --no-save --no-audit --no-fund --loglevel=error && touch node_modules/.package-lock.json && exit 0; \
	fi; \
	if [ "$$WHATSSOUND_REQUIRE_ALL" = 1 ]; then echo "the interop tests need Node.js and its packages" >&2; exit 1; fi; \
	echo "Without Node.js and its packages the interop tests are skipped"

unit: $(VENV)/.dev ## fast tests, no database
	$(PYTEST) -n $(WORKERS) tests/unit

contract: $(VENV)/.dev ## our stack answers as the recorded real servers did
	$(PYTEST) tests/contract

database: $(VENV)/.dev ## migrations, policies and functions, by pgTAP and by races
	$(PYTEST) tests/database

integration: $(VENV)/.dev node ## the SDK, supabase-py and supabase-js against the local stack
	$(PYTEST) tests/integration

SEEDS ?= 20
chaos: $(VENV)/.dev ## what faults cost, each guarantee in a table; make chaos SEEDS=200
	$(BIN)/python -m tests.integration.faults --seeds $(SEEDS) $(ARGS)

docs: $(VENV)/.dev ## write the generated parts of the docs anew, then test the docs
	$(BIN)/python docs/generate_reference.py
	$(BIN)/python docs/generate_wire.py
	$(BIN)/python docs/generate_scaling.py
	$(PYTEST) tests/test_docs.py tests/test_scaling_page.py

bench: $(VENV)/.dev ## numbers of this machine; one of them: make bench BENCH=tests/benchmarks/rest.py
	@for benchmark in $(BENCH); do echo "== $$benchmark"; $(BIN)/python "$$benchmark" || exit 1; done

build: $(VENV)/.dev ## wheel and sdist in dist/
	$(BIN)/python -m build

clean: ## remove the environment and everything made
	rm -rf $(VENV) build dist tests/interop/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
