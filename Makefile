# make demo: set-up, then the main job on the embedded data.   make test: set-up, then every check.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
READY := $(VENV)/.ready
DEMO_EPOCHS ?= 12
WORKERS ?= auto

.PHONY: help install setup browser demo test lint types architecture pytest slow golden reports clean

help:
	@echo "make demo    set up, then list, profile, train, ablate and report on the embedded data (a few minutes)"
	@echo "make test    set up, then lint, types, architecture and tests"
	@echo "make install set up the package alone, as make demo does; make setup adds what the checks need"
	@echo "make slow    set up, then the tests that take longer"
	@echo "make browser install the browser that tests of pages take, where there is none"
	@echo "make golden  count the costs anew after a deliberate change of a model"
	@echo "make reports render the committed reports and the README anew from their records"

install: $(INSTALLED)

setup: $(READY)

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	@touch $(INSTALLED)

$(READY): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	@touch $(READY)

# A browser for the tests of pages: Debian's where it may be installed, else playwright's own. Without one they fail.
browser: setup
	@test -n "$(VTBENCH_TESTS_WITHOUT_BROWSER)" || which chromium chromium-browser google-chrome | grep -q . || \
	{ test "$$(id -u)" = 0 && apt-get install -y -qq chromium; } || sudo -n apt-get install -y -qq chromium || \
	$(BIN)/playwright install chromium || echo "No browser could be installed: the tests of pages will say so."

demo: install
	@echo "== Which models are there?"
	$(BIN)/vtbench list
	@echo "== What do the last stage's convolutions cost, and what do tokens cost in their place?"
	$(BIN)/vtbench profile vt_resnet34 --against resnet34
	@echo "== Five networks, one recipe: what those MACs buy on the embedded images in a short run of one seed."
	@echo "   What learns fastest leads such a ranking; after 90 epochs it may be another (README, What it buys)."
	$(BIN)/vtbench ablate components --data scenes --epochs $(DEMO_EPOCHS) --seeds 1 --out runs/demo

test: lint types architecture pytest

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: setup
	$(BIN)/mypy

architecture: setup
	$(BIN)/lint-imports

pytest: setup browser
	$(BIN)/python -m pytest -n $(WORKERS) $(PYTEST_ARGS)

slow: setup browser
	$(BIN)/python -m pytest -m "slow or cluster" $(PYTEST_ARGS)

golden: setup
	$(BIN)/python -m vtbench.models.golden
	$(BIN)/python -m vtbench.audit.counting
	$(BIN)/vtbench audit --format json > reports/audit/findings.json

reports: setup
	$(BIN)/python -m vtbench.reporting.committed

clean:
	rm -rf $(VENV) runs build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
