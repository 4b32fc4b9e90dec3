# Every target does its own set-up: a fresh machine needs Python 3.11+ and make, nothing else.
PYTHON ?= python3
BIN := .venv/bin
WORKERS ?= 2
INSTALLED := .venv/installed
DEV_INSTALLED := .venv/installed-dev

# Compiled modules are kept: without them each worker of the tests would compile all of them again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run test matrix drill install lint format lock clean

run: install  ## start the whole server on the embedded default (PORT and HOST are honoured)
	@$(BIN)/cookcam dev

test: $(DEV_INSTALLED) lint  ## run every check: lint, format, types, import contracts, tests
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup $(TESTS)

matrix: $(DEV_INSTALLED)  ## run the checks of a deployment, and write docs/matrix.md
	$(BIN)/python -m tests.matrix -n 2 --write docs/matrix.md

drill: $(DEV_INSTALLED)  ## rehearse a restore: dump under load, restore, prove the data
	$(BIN)/python -m tests.drills.restore

install: $(INSTALLED)  ## install cookcam into .venv

lint: $(DEV_INSTALLED)  ## run the static checks only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports --no-cache
	$(BIN)/pytest -q tests/test_vocabulary.py

format: $(DEV_INSTALLED)  ## format the code and apply safe fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(DEV_INSTALLED)  ## compile the hashed lock files from the ranges in pyproject.toml
	echo "uv>=0.8,<1" | $(BIN)/pip-compile $(LOCK_FLAGS) --output-file requirements/uv.lock -
	$(BIN)/pip-compile $(LOCK_FLAGS) --output-file requirements/runtime.lock pyproject.toml
	$(BIN)/pip-compile $(LOCK_FLAGS) --extra sandbox --output-file requirements/sandbox.lock pyproject.toml
	$(BIN)/pip-compile $(LOCK_FLAGS) --extra sandbox --extra dev --output-file requirements/dev.lock pyproject.toml

clean:  ## remove the installation, the sandbox's data and caches
	rm -rf .venv .cookcam .pytest_cache .ruff_cache build dist

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 18

LOCK_FLAGS := --quiet --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url \
	--no-emit-trusted-host --no-emit-find-links --no-header --no-annotate

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "CookCam needs Python 3.11 or newer, and '$(PYTHON)' is not:"; \
		echo "  make run PYTHON=python3.12   # the name or path of a newer one"; exit 1; } >&2
	@$(PYTHON) -m venv .venv

# The project itself is only linked: editing the source needs no second install.
$(INSTALLED): requirements/sandbox.lock pyproject.toml requirements/install.sh | .venv/bin/python
	@sh requirements/install.sh requirements/sandbox.lock
	@sh requirements/install.sh --project
	@touch $@

$(DEV_INSTALLED): requirements/dev.lock $(INSTALLED)
	@sh requirements/install.sh requirements/dev.lock
	@touch $@
