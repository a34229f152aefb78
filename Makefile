# make demo: set-up, then the main job on the embedded data.   make test: set-up, then every check.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help setup demo test lint types architecture pytest golden clean

help:
	@echo "make demo   set up, then list, profile, train, ablate and report on the embedded data (a few minutes)"
	@echo "make test   set up, then lint, types, architecture and tests"
	@echo "make golden regenerate the golden costs after a deliberate change of a model"

setup: $(READY)

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	@touch $(READY)

test: lint types architecture pytest

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: setup
	$(BIN)/mypy

architecture: setup
	$(BIN)/lint-imports

pytest: setup
	$(BIN)/python -m pytest $(PYTEST_ARGS)

golden: setup
	$(BIN)/python -m vtbench.models.catalog

clean:
	rm -rf $(VENV) runs build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
