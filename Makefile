# Commands for users and developers; `make` lists them. Requires make and Python >= 3.11 with venv.
PORT ?= 8000
DATA_DIR ?= .data
# The newest installed Python that can create a virtual environment; PYTHON=… selects another.
PYTHON ?= $(firstword $(foreach p,python3.14 python3.13 python3.12 python3.11 python3,$(shell $(p) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $(p))))
PIP = .venv/bin/python -m pip --disable-pip-version-check -qq
ARGS ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test drills walk shots mirror check lint types bench faults cluster containers installers audit lock clean

help: ## list the commands
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/^([a-z]+):.*## /\1\t/' | awk -F '\t' '{ printf "  make %-10s %s\n", $$1, $$2 }'

setup: .venv/dev ## install into .venv what is needed to run, test and check (again only when requirements change)

demo: .venv/runtime ## start the registry with the demo deals (PORT=8000 DATA_DIR=.data)
	@exec .venv/bin/registry demo --port "$(PORT)" --data-dir "$(DATA_DIR)" $(ARGS)

# One process more than processors, at most four: the tests wait for servers much of the time. Each process runs whole files. The
# tests start hundreds of processes: without compiled files, each of them would compile the registry again.
PROCESSES = $(shell n=$$(nproc 2>/dev/null || echo 2); echo $$((n < 3 ? n + 1 : 4)))
# A test that hangs ends the run after faulthandler_timeout; a new worker would only run it again.
PYTEST = PYTHONDONTWRITEBYTECODE= .venv/bin/python -m pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder --max-worker-restart 0

test: .venv/dev ## run the tests (ARGS="-k ulsan" selects some, ARGS="-n 0" runs them in one process)
	$(PYTEST) -m "not drill" $(ARGS)

drills: .venv/dev ## run the tests that take long: benchmarks, failures of databases, more walks in the browser, more examples
	REGISTRY_TEST_EXAMPLES=10 $(PYTEST) -o faulthandler_timeout=900 -m "drill or hypothesis" $(ARGS)

walk: .venv/dev ## compare every page of the demo and of 10,000 deals with the API and independent models (DEALS=1000 for fewer)
	REGISTRY_WALK_DEALS=$(or $(DEALS),10000) .venv/bin/python -m pytest -q -o faulthandler_timeout=3600 tests/web/test_walk.py $(ARGS)

shots: .venv/dev ## take pictures of every page in both languages, two widths, light and dark (FOLDER=.data/shots DEALS=2000)
	REGISTRY_SCREENSHOTS=$(or $(FOLDER),.data/shots) REGISTRY_WALK_DEALS=$(or $(DEALS),2000) .venv/bin/python -m pytest -q -o faulthandler_timeout=3600 tests/web/test_screenshots.py $(ARGS)

mirror: .venv/dev ## follow a registry of 10,000 deals and compare the mirror's answers with its own (DEALS=1000 for fewer)
	REGISTRY_MIRROR_DEALS=$(or $(DEALS),10000) .venv/bin/python -m pytest -q -o faulthandler_timeout=3600 tests/mirror/test_many_deals.py $(ARGS)

# mypy works on one processor, and the tests wait for servers part of the time: they run side by side.
check: lint ## check style, formatting, import contracts and types, and run the tests
	@$(MAKE) --no-print-directory -j2 types test

lint: .venv/dev
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/lint-imports

types: .venv/dev
	.venv/bin/mypy

bench: .venv/dev ## run the benchmarks; writes bench/results.md
	.venv/bin/python -m bench $(ARGS)

faults: .venv/dev ## inject every fault ten times into services under load; writes docs/faults.md (ARGS="--times 2 --only 'disk full'")
	.venv/bin/python -m tests.faults.run $(ARGS)

cluster: .venv/dev ## run a cluster of three nodes, kill, freeze and partition them; writes its table into docs/cluster.md (root; see there)
	.venv/bin/python -m tests.cluster.run $(ARGS)

# The first test waits until the base and the image are built.
containers: .venv/dev ## build and start the image and the compose file (requires podman, runc and debootstrap, as root)
	REGISTRY_TEST_CONTAINERS=1 .venv/bin/python -m pytest -o faulthandler_timeout=1800 tests/containers $(ARGS)

installers: .venv/dev ## install the wheel with pipx and with uv, as the README does (asks the package index)
	REGISTRY_TEST_INSTALLERS=1 .venv/bin/python -m pytest tests/packaging/test_installers.py $(ARGS)

audit: .venv/runtime ## compare the pinned packages with advisories (ADVISORIES=DIR, a checkout of pypa/advisory-database)
	@.venv/bin/python -m deploy.audit $(ADVISORIES)

sbom: .venv/dev ## write sbom.cdx.json, the software bill of materials of the pinned packages (CycloneDX)
	@.venv/bin/python -m deploy.sbom sbom.cdx.json

lock: .venv/dev ## pin the newest versions of the dependencies in pyproject.toml
	.venv/bin/uv pip compile $(LOCK) pyproject.toml -o requirements.txt
	.venv/bin/uv pip compile $(LOCK) --group build -o requirements-build.txt
	.venv/bin/uv pip compile $(LOCK) --group dev -c requirements.txt -c requirements-build.txt pyproject.toml -o requirements-dev.txt
	.venv/bin/uv pip compile $(LOCK) --extra otel -c requirements.txt -c requirements-dev.txt pyproject.toml -o requirements-otel.txt
	.venv/bin/uv pip compile $(LOCK) --group clients -o tests/clients/requirements.txt

LOCK = --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock'

clean: ## remove .venv, the demo's data and the caches of tools
	rm -rf .venv .data .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "No Python >= 3.11 with venv was found: install one, or set PYTHON=…" >&2; exit 1; }
	@echo "Creating .venv with $(PYTHON) …"
	@"$(PYTHON)" -m venv --clear .venv

# --no-deps, because the files list every package, without those that a dependency declares and never imports (pyproject.toml).
.venv/runtime: requirements.txt requirements-build.txt pyproject.toml | .venv/bin/python
	@echo "Installing the requirements …"
	@$(PIP) install --no-deps --require-hashes --only-binary :all: -r requirements.txt -r requirements-build.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

.venv/dev: requirements-dev.txt .venv/runtime
	@echo "Installing the requirements of the tests …"
	@$(PIP) install --no-deps --require-hashes --only-binary :all: -r requirements-dev.txt
	@touch $@
