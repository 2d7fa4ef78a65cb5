# Needs Python 3.11, 3.12 or 3.13, Git and this make; everything else is installed into .venv from pinned lists, and
# what only the fuzzer needs into .build/fuzz.
#
#   make demo      install dv and show it at work on a small data set
#   make test      install everything, build the wheel, install the wheel, run `check`
#   make check     the one gate: lint, types, floors, vectors, command reference, docs, tests
#   make deep      the long tests: faults at every step, fuzzing, scale
#   make bench     the benchmarks
#   make docs      the documentation, in .build/docs
#   make vectors   add the golden bytes of new formats (existing ones never change)
#   make lock      renew the pinned lists in requirements/
#   make clean     remove everything that make made

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := test
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: demo test check deep bench docs vectors lock clean

CANDIDATES := python3 python3.14 python3.13 python3.12 python3.11
USABLE := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in $(CANDIDATES); do \
	if $$p -c '$(USABLE)' >/dev/null 2>&1; then echo $$p; break; fi; done)

BUILD := .build
FUZZ := $(BUILD)/fuzz
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input --quiet
# -P keeps the working directory off sys.path, so that what runs is the installed wheel and not the checkout;
# as a variable it reaches child processes too.
INSTALLED := PYTHONSAFEPATH=1
JOBS ?= 2

# Directories are listed as well as files: removing a module changes only its directory.
SOURCES := $(shell find dvtool hooks -name __pycache__ -prune -o -print 2>/dev/null) \
	pyproject.toml README.md LICENSE

.venv/.made:
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or newer with venv found; name one with PYTHON=..." >&2; exit 1; }
	"$(PYTHON)" -m venv .venv
	@touch $@

.venv/.demo: requirements/demo.txt .venv/.made
	$(PIP) install -r requirements/demo.txt
	@touch $@

.venv/.test: requirements/test.txt .venv/.demo
	$(PIP) install -r requirements/test.txt
	@touch $@

.venv/.wheel: $(SOURCES) .venv/.demo
	@rm -rf $(BUILD)/wheel
	$(INSTALLED) $(BIN)/python -m hatchling build -t wheel -d $(BUILD)/wheel
	$(PIP) install --no-deps --force-reinstall $(BUILD)/wheel/dvtool-*.whl
	@touch $@

demo: .venv/.wheel
	$(BIN)/dv demo

test: check

# The tests come last, so that their summary is the last thing on the screen.
check: .venv/.test .venv/.wheel
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --cache-dir $(BUILD)/imports
	$(INSTALLED) $(BIN)/python tests/vectors/generate.py --check
	$(INSTALLED) $(BIN)/python -m dvtool.cli.reference --check docs/reference/commands.md
	$(BIN)/sphinx-build -W --keep-going --quiet -d $(BUILD)/doctrees docs $(BUILD)/docs
	$(INSTALLED) $(BIN)/python -m pytest -n $(JOBS)

# The fuzzer instruments what it runs, so it has an environment of its own: dv with the versions that are tested.
$(FUZZ)/.made: requirements/fuzz.txt requirements/test.txt .venv/.wheel
	"$(PYTHON)" -m venv $(FUZZ)
	$(FUZZ)/bin/python -m pip --disable-pip-version-check --no-input --quiet install --only-binary :all: \
		-c requirements/test.txt -r requirements/fuzz.txt $(BUILD)/wheel/dvtool-*.whl
	$(FUZZ)/bin/python -m pip --disable-pip-version-check --no-input --quiet install \
		--no-deps --force-reinstall $(BUILD)/wheel/dvtool-*.whl
	@touch $@

deep: .venv/.test .venv/.wheel $(FUZZ)/.made
	$(INSTALLED) HYPOTHESIS_PROFILE=deep $(BIN)/python -m pytest -n $(JOBS) -m deep
	$(INSTALLED) $(FUZZ)/bin/python tests/fuzz/fuzz.py --jobs $(JOBS)

bench: .venv/.test .venv/.wheel
	$(BIN)/python -m benchmarks

docs: .venv/.test
	$(BIN)/sphinx-build -W --keep-going --quiet -d $(BUILD)/doctrees docs $(BUILD)/docs
	@echo "docs: $(BUILD)/docs/index.html"

vectors: .venv/.test .venv/.wheel
	$(INSTALLED) $(BIN)/python tests/vectors/generate.py

lock:
	"$(PYTHON)" requirements/lock.py

clean:
	rm -rf .venv $(BUILD) .hypothesis
	find dvtool tests benchmarks docs requirements -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
