# Everything runs from the project's own .venv; nothing but Python and make is needed on the machine.
.DEFAULT_GOAL := help
.PHONY: help install up down reset logs status demo demo-superset demo-query demo-dora test test-real lint types unit house integration bench bench-peers fmt

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
RUN := $(BIN)/python -m
LOCAL := $(RUN) deploy.local
# The first interpreter that is new enough; PYTHON=/path/to/python chooses another.
PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11,$(shell $(p) -c 'import sys; sys.version_info >= (3, 11) and print("$(p)")' 2>/dev/null)))
# Side by side, each with servers of its own; a file's tests run in one of them, in their order.
TEST_WORKERS ?= 2
ONLY ?=
NAME ?=
export UV_PROJECT_ENVIRONMENT := $(VENV)
export UV_PYTHON_DOWNLOADS := never
# The machine's own certificates, as company networks need them.
export UV_SYSTEM_CERTS ?= true
# Without bytecode each of the many processes would compile all packages anew.
unexport PYTHONDONTWRITEBYTECODE VIRTUAL_ENV

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP) ## Install the locked packages into .venv (skipped while uv.lock is unchanged)

$(STAMP): uv.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Tidemark needs Python 3.11 or newer, python3 here is $$(python3 -V 2>&1); set PYTHON=/path/to/python"; exit 1; }
	@if command -v uv > /dev/null; then \
	    uv sync --locked --quiet --python "$(PYTHON)"; \
	else \
	    test -x $(BIN)/uv || $(PYTHON) -m venv $(VENV) || { echo "$(PYTHON) cannot make a venv; on Debian and Ubuntu install python3-venv"; exit 1; }; \
	    test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv || { echo "uv could not be installed from the package index"; exit 1; }; \
	    $(BIN)/uv sync --locked --quiet --inexact --python $(BIN)/python; \
	fi
	@touch $@

up: install ## Start the whole stack in the foreground; Ctrl-C stops it
	@$(LOCAL) up

down: install ## Stop the running stack
	@$(LOCAL) down

reset: install ## Stop the stack and remove all its data
	@$(LOCAL) reset

logs: install ## Follow the logs (NAME=aggregator for one process)
	@$(LOCAL) logs $(NAME)

status: install ## Show the processes of the stack
	@$(LOCAL) status

demo: install ## Start the stack where it does not run, mine a real query log, show who uses what
	@$(LOCAL) up --detach --reuse
	@$(RUN) cli demo

demo-superset: install ## The same for a real Superset (its first run installs 650 MB and takes some minutes)
	@$(LOCAL) up --detach --reuse
	@$(LOCAL).superset_demo

demo-query: install ## Saved, read-only queries on real servers: their rows, and each refusal of an attack
	@$(LOCAL) up --detach --reuse
	@$(LOCAL).query_demo

demo-dora: install ## Deployments told by CloudEvents, webhooks and Kafka: the reports and CSV files that they become
	@$(LOCAL) up --detach --reuse
	@$(RUN) cli demo-dora

test: install ## Lint, types and all tests; ends with pytest's own last line
	@$(MAKE) --no-print-directory lint types
	@$(RUN) pytest --numprocesses=$(TEST_WORKERS) --dist=loadfile --no-loadscope-reorder tests/unit tests/house tests/integration

test-real: install ## Tests that need more than Kafka and PostgreSQL: Superset, MariaDB, OpenSearch, ClickHouse
	@$$(command -v uv || echo $(BIN)/uv) sync --locked --quiet --inexact --group clickhouse --python $(BIN)/python \
	    || echo "chdb could not be installed: the tests that need ClickHouse will be skipped"
	@$(RUN) pytest tests/real

lint: install ## Check style and formatting
	@start=$$(date +%s); $(BIN)/ruff check . && $(BIN)/ruff format --check . && echo "lint: $$(($$(date +%s) - start)) s"

types: install ## Check types
	@start=$$(date +%s); $(BIN)/mypy && echo "types: $$(($$(date +%s) - start)) s"

unit: install ## Run the unit tests for a quick answer: without corpora, with a tenth of the generated examples
	@TEST_QUICK=1 $(RUN) pytest tests/unit -m "not corpus"

house: install ## Run the tests of the house rules
	@$(RUN) pytest tests/house

integration: install ## Run the tests against real Kafka and PostgreSQL
	@$(RUN) pytest tests/integration

bench: install ## Run the benchmarks (ONLY=name for one)
	@$(RUN) bench $(ONLY)

bench-peers: install ## Run the benchmarks against peers, each in a venv of its own under .local (downloads on first use)
	@$(RUN) bench --peers

fmt: install ## Format the code and repair what ruff can repair
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .
