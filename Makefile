# Everything a developer types. `make help` lists it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

BIN := .venv/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet
SOURCES := server export clients/python clients/conformance demo benchmarks tests
HOST ?= 127.0.0.1
PORT ?= 50051
DATA_DIR ?= finesieve-data

.PHONY: help setup setup-dev demo serve test check check-format check-lint check-types \
	check-imports check-contract test-clients format proto soak clean \
	bench bench-overload bench-search bench-retrieval bench-live bench-deadline bench-hybrid bench-gpu

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# ------------------------------------------------------------------------------------- set-up

setup: .venv/.has-server ## make .venv with the server and the client

setup-dev: .venv/.has-dev ## add what the tests and the checks need (torch among it)

.venv/bin/python:
	@python=$$(tools/check_machine.sh); \
	echo "Making .venv with $$python"; \
	"$$python" -m venv .venv

# The stamps make a second run cost nothing; what says how to install, when changed, installs again.
.venv/.has-server: pyproject.toml hatch_build.py native/graph.cpp | .venv/bin/python
	@tools/check_machine.sh >/dev/null
	@echo "Installing the server and the client into .venv (the graph is compiled; about a minute)"
	@$(PIP) --editable '.[server]'
	@touch $@

.venv/.has-dev: pyproject.toml hatch_build.py native/graph.cpp | .venv/bin/python
	@tools/check_machine.sh >/dev/null
	@echo "Installing the server, the export and the developer's tools into .venv (torch: some GB)"
	@$(PIP) --editable '.[server,milvus,ingest,export,evaluate,dev]'
	@touch $@ .venv/.has-server

# -------------------------------------------------------------------------------------- running

demo: setup ## index the standard library's documentation and ask it questions
	@$(BIN)/python -m demo

serve: setup ## serve DATA_DIR (finesieve-data) on HOST:PORT (127.0.0.1:50051)
	@$(BIN)/finesieve-server --data-dir $(DATA_DIR) --host $(HOST) --port $(PORT)

# ------------------------------------------------------------------------------------- checking

test: setup-dev ## run the tests
	@$(BIN)/python -m pytest

check: check-format check-lint check-types check-imports check-contract test ## everything below, and the tests

check-format: setup-dev ## is the code formatted?
	@$(BIN)/ruff format --check .

check-lint: setup-dev ## ruff
	@$(BIN)/ruff check .

check-types: setup-dev ## mypy, strict
	@$(BIN)/mypy $(SOURCES)

check-imports: setup-dev ## the import law
	@$(BIN)/lint-imports

check-contract: setup-dev ## the contract: lint, nothing broken, generated code as committed
	@PYTHON=$(BIN)/python tools/check_contract.sh

test-clients: setup-dev ## the conformance suite: every client against one server (ARGS=--language=go)
	@$(BIN)/python -m pytest clients/conformance $(ARGS)

soak: setup-dev ## the tests of many repetitions, in full (hours)
	@$(BIN)/python -m pytest -m soak --soak

# ------------------------------------------------------------------------------------- measuring
# Each takes ARGS=--help. docs/benchmarks gets a report only with ARGS=--write.

bench: setup-dev ## reranking beside a bare loop, infinity-emb and sentence-transformers
	@$(BIN)/python -m benchmarks.rerank $(ARGS)

bench-overload: setup-dev ## offer the server multiples of its peak, and a noisy tenant
	@$(BIN)/python -m benchmarks.overload $(ARGS)

bench-search: setup-dev ## Search beside Retrieve and Rerank in a chain
	@$(BIN)/python -m benchmarks.search $(ARGS)

bench-retrieval: setup-dev ## the first stage at a million passages (ARGS=FOLDER of sets in BEIR's layout)
	@$(BIN)/python -m benchmarks.retrieval $(ARGS)

bench-live: setup-dev ## search while the index is written to: what is late, lost or doubled
	@$(BIN)/python -m benchmarks.live $(ARGS)

bench-deadline: setup-dev ## what a deadline buys (ARGS=FOLDER in BEIR's layout)
	@$(BIN)/python -m benchmarks.deadline $(ARGS)

bench-hybrid: setup-dev ## what embeddings, words and both find (ARGS=DATA, a folder of sets in BEIR's layout)
	@$(BIN)/python -m benchmarks.hybrid $(ARGS)

bench-gpu: $(if $(filter .venv/bin,$(BIN)),setup-dev) ## the server on a CUDA card; ARGS=--host-only: what the host can feed
	@$(BIN)/python -m benchmarks.gpu $(ARGS)

# ------------------------------------------------------------------------------------- changing

format: setup-dev ## format the code and mend what ruff can mend
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

proto: .venv/bin/python ## generate again all code that the repository holds generated
	@PYTHON=$(BIN)/python proto/generate.sh .
	@for generate in $(wildcard clients/*/generate); do $$generate; done

clean: ## remove environments, caches and what running left behind
	rm -rf .venv .venv-proto .demo build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
