# Everything a developer or a visitor does here; `make` alone lists it. Only Python >= 3.11 with venv, and make, are needed.
PORT ?= 8000
DATA_DIR ?= .data
# The newest Python that is there and can make a virtual environment; PYTHON=… chooses another.
PYTHON ?= $(firstword $(foreach p,python3.14 python3.13 python3.12 python3.11 python3,$(shell $(p) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $(p))))
PIP = .venv/bin/python -m pip --disable-pip-version-check -qq
ARGS ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test check lint types bench lock clean

help: ## list what can be done
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/^([a-z]+):.*## /\1\t/' | awk -F '\t' '{ printf "  make %-8s %s\n", $$1, $$2 }'

setup: .venv/dev ## make .venv with everything needed to run, test and check (again only when the requirements changed)

demo: .venv/runtime ## start the registry with the demo deals (PORT=8000 DATA_DIR=.data)
	@exec .venv/bin/registry demo --port "$(PORT)" --data-dir "$(DATA_DIR)" $(ARGS)

# In a process for each processor, up to four, a file at a time. The tests start hundreds of processes: where the environment
# forbids compiled files, each would compile the registry anew.
test: .venv/dev ## run the tests (ARGS="-k ulsan" chooses some, ARGS="-n 0" runs them in one process)
	PYTHONDONTWRITEBYTECODE= .venv/bin/python -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

check: lint types test ## everything that must pass: style, formatting, types, import contracts, tests

lint: .venv/dev
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/lint-imports

types: .venv/dev
	.venv/bin/mypy

bench: .venv/dev ## measure against the bare thing and the peer; writes bench/results.md
	.venv/bin/python -m bench $(ARGS)

lock: ## pin the newest versions of what pyproject.toml asks for (needs uv)
	uv pip compile $(LOCK) pyproject.toml -o requirements.txt
	uv pip compile $(LOCK) --group build -o requirements-build.txt
	uv pip compile $(LOCK) --group dev -c requirements.txt -c requirements-build.txt pyproject.toml -o requirements-dev.txt

LOCK = --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock'

clean: ## remove .venv, the demo's data and what tools left behind
	rm -rf .venv .data .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "No Python >= 3.11 with venv was found: install one, or name it with PYTHON=…" >&2; exit 1; }
	@echo "Making .venv with $(PYTHON) …"
	@"$(PYTHON)" -m venv --clear .venv

.venv/runtime: requirements.txt requirements-build.txt pyproject.toml | .venv/bin/python
	@echo "Installing what the registry needs to run …"
	@$(PIP) install --require-hashes --only-binary :all: -r requirements.txt -r requirements-build.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

.venv/dev: requirements-dev.txt .venv/runtime
	@echo "Installing what its tests need …"
	@$(PIP) install --require-hashes --only-binary :all: -r requirements-dev.txt
	@touch $@
