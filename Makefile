# Everything a developer runs. Each target makes the virtualenv in .venv and installs what it
# needs by itself, once: a stamp in .venv remembers it until setup.cfg changes.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CONFIG ?= etc/logplex.toml
TESTS ?= tests
# Processes that share the tests.
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
BENCH ?=

# What needs no process of its own: everything but tests.integration.
IN_MEMORY := $(subst /,.,$(basename $(filter-out tests/integration, \
  $(patsubst %/,%,$(dir $(wildcard tests/*/__init__.py))) $(wildcard tests/test_*.py))))

.PHONY: run test test-in-memory neighbours coverage lint bench dist clean

## Run a node with etc/logplex.toml; it writes below var/ only.
run: $(VENV)/.installed
	$(BIN)/twistd --nodaemon --pidfile= logplex --config $(CONFIG)

## All tests, those with real processes too. TESTS=tests.drains runs a part.
test: $(VENV)/.installed-test
	$(BIN)/trial --jobs=$(JOBS) $(TESTS)

## The tests that start no process, in under a minute.
test-in-memory: $(VENV)/.installed-test
	$(BIN)/trial --jobs=$(JOBS) $(IN_MEMORY)

## What one tenant's misuse costs the others. It measures times: leave the machine alone meanwhile.
neighbours: $(VENV)/.installed-test
	$(BIN)/trial tests.integration.neighbours

## The lines and branches that these tests go through.
coverage: $(VENV)/.installed-test
	$(BIN)/coverage erase
	$(BIN)/coverage run $(BIN)/trial --jobs=$(JOBS) $(IN_MEMORY)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

## Format, rules and types.
lint: $(VENV)/.installed-lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

## What a message costs, in CPU and memory. BENCH=--help shows how to run a part.
bench: $(VENV)/.installed-bench
	$(BIN)/python -m bench $(BENCH)

## A source distribution and a wheel in dist/.
dist: $(VENV)/.installed-test
	$(BIN)/python -m build

## Remove what the other targets made. What a node keeps in var/ stays.
clean:
	rm -rf .venv .venv-* build dist *.egg-info _trial_temp* .coverage* .hypothesis .mypy_cache .ruff_cache
	rm -f twisted/plugins/dropin.cache
	find logplex tests bench twisted -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.made:
	@command -v $(PYTHON) >/dev/null || { echo "logplex: $(PYTHON) is not installed" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "logplex: Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) -V)." \
	    "Name another one: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
	  | { read -r packages && echo '$(CURDIR)' >"$$packages/checkout.pth"; }
	touch $@

# The checkout is on the virtualenv's path as well (checkout.pth): an editable install alone would
# not show Twisted the plugin in it.
$(VENV)/.installed: $(VENV)/.made setup.cfg pyproject.toml
	$(BIN)/python -m pip install -qq --editable .
	touch $@

$(VENV)/.installed-%: $(VENV)/.made setup.cfg pyproject.toml
	$(BIN)/python -m pip install -qq --editable '.[$*]'
	touch $@ $(VENV)/.installed
