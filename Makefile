# Every target does its own set-up: a fresh machine needs Python 3.11+ and make, nothing else.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
DEV_INSTALLED := .venv/installed-dev
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: run test install lint format types check-imports lock clean

run: install          ## the whole server on the embedded default; PORT is honoured
	$(BIN)/cookcam dev

install: $(INSTALLED) ## .venv with cookcam in .venv/bin

test: $(DEV_INSTALLED) lint  ## every check: lint, format, types, import contracts, tests
	$(BIN)/pytest -n 2 --dist loadgroup $(TESTS)

lint: $(DEV_INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports --no-cache

format: $(DEV_INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(DEV_INSTALLED) ## compiles the hashed lock files from the ranges in pyproject.toml
	$(BIN)/pip-compile $(LOCK_FLAGS) --output-file requirements/runtime.lock pyproject.toml
	$(BIN)/pip-compile $(LOCK_FLAGS) --extra sandbox --output-file requirements/sandbox.lock pyproject.toml
	$(BIN)/pip-compile $(LOCK_FLAGS) --extra sandbox --extra dev --output-file requirements/dev.lock pyproject.toml

LOCK_FLAGS := --quiet --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url \
	--no-emit-trusted-host --no-emit-find-links --no-header --no-annotate

.venv/bin/python:
	$(PYTHON) -m venv .venv

# The project itself is only linked: editing the source needs no second install.
$(INSTALLED): requirements/sandbox.lock pyproject.toml | .venv/bin/python
	$(PIP) --require-hashes -r requirements/sandbox.lock
	$(PIP) --no-deps --no-build-isolation -e .
	touch $@

$(DEV_INSTALLED): requirements/dev.lock $(INSTALLED)
	$(PIP) --require-hashes -r requirements/dev.lock
	touch $@

clean:
	rm -rf .venv .cookcam .pytest_cache .ruff_cache build dist
