# The commands of the project; `make` or `make help` lists them.
#
# Everything runs from a virtual environment in .venv, which is made when it is missing and
# brought up to date when the dependencies change; otherwise setting up costs nothing.
# `make test PYTHON=python3.13` uses another interpreter, in an environment of its own
# (.venv-python3.13); `make test VENV=/some/where` uses another environment.

PYTHON ?= python3
VENV   ?= .venv$(if $(filter command environment,$(origin PYTHON)),-$(notdir $(PYTHON)))
BIN    := $(VENV)/bin
READY  := $(VENV)/.operator-ready
PIP    := $(BIN)/python -m pip --disable-pip-version-check

# uv installs them in a twentieth of pip's time. Of pip's settings it is told the index, such as a mirror;
# where it fails for another, pip installs them.
PACKAGES := --constraint constraints.txt --no-build-isolation \
  --editable clients/python --editable '.[browser,dev,otel]'

# Suites of several processes under load run alone, after all others.
SERIAL := $(wildcard tests/cluster)
# Suites that need no database, no browser and no process of their own.
QUICK  := $(wildcard tests/unit tests/protocol tests/peers tests/devpeers)
# npm writes these last, so each says that the modules of its folder are all there.
MODULES := $(addsuffix /node_modules/.package-lock.json,clients/js tests/clients/typescript tests/clients/sdks)
# No check reads what another one writes, so two run at a time; the longest begin.
CHECKS := types sql clients manifests lint layers image-check docs-check
PYTEST := $(BIN)/python -m pytest
ARGS   ?=

# Tests start some hundred processes: without byte code each would compile the whole service.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup machine run test quick unit serial check format lint types layers sql image-check \
        manifests docs docs-check screenshots clients bench chaos sdks attack hashes sbom image \
        migrate clean

help:  ## list these commands
	@sed -n 's/^\([a-z-]*\):.*  ## /\1|/p' $(firstword $(MAKEFILE_LIST)) \
	  | awk -F'|' '{ printf "  make %-12s %s\n", $$1, $$2 }'

setup: $(READY)  ## make the virtual environment with all that the other commands need

$(READY): setup.cfg pyproject.toml constraints.txt clients/python/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo 'Operator needs Python 3.11 or newer; name one with: make setup PYTHON=python3.12 VENV=.venv' >&2; exit 1; }
	@test -x $(BIN)/python || { echo 'Making the virtual environment $(VENV) ...'; \
	  $(PYTHON) -m venv $(VENV); } \
	  || { rm -rf $(VENV); \
	       echo 'Python cannot make virtual environments here; on Debian: apt-get install python3-venv' >&2; \
	       exit 1; }
	@echo 'Installing what Operator needs (the first time takes a minute) ...'
	@$(PIP) install -qq --constraint constraints.txt setuptools uv
	@index=$$($(PIP) config list | sed -n "s/^[^=]*\.index-url='\(.*\)'$$/\1/p" | tail -n 1); \
	  test -z "$$index" || export UV_DEFAULT_INDEX="$$index"; \
	  $(BIN)/uv pip install --quiet --python $(BIN)/python $(PACKAGES) || $(PIP) install -qq $(PACKAGES)
	@touch $@

machine:  ## install what pip cannot bring: Chromium, and a tool that renders Kubernetes manifests
	@sh tools/machine

run: $(READY)  ## start Operator with SQLite in ./data and stand-in peers; Ctrl-C ends it
	@exec $(BIN)/operator-svc dev $(ARGS)

test: check unit serial  ## everything: the checks, then all tests on SQLite, PostgreSQL and Chromium

quick: check  ## the checks, and the tests that need no server: in less than two minutes
	@$(PYTEST) -n 2 --dist loadfile $(ARGS) $(QUICK)

unit: $(READY) machine $(MODULES)
	@$(PYTEST) -n 3 --dist loadfile --no-loadscope-reorder $(addprefix --ignore=,$(SERIAL)) $(ARGS) tests

serial: $(READY) machine
	@$(PYTEST) $(ARGS) $(SERIAL)

check: $(READY) machine  ## all that can be said without running it
	@$(MAKE) --no-print-directory --jobs=2 $(if $(filter output-sync,$(.FEATURES)),--output-sync) $(CHECKS)

lint: $(READY)  ## ruff: faults, style, order of imports, format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: $(READY)  ## write the files as lint wants them
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
	@sh tools/sql $(BIN)/sqlfluff fix >/dev/null

types: $(READY)  ## mypy --strict
	@$(BIN)/mypy

layers: $(READY)  ## import-linter: imports go down only
	@$(BIN)/lint-imports

sql: $(READY)  ## sqlfluff: the queries and the migrations, each in its dialect
	@sh tools/sql $(BIN)/sqlfluff

image-check: $(READY)  ## hadolint: the Dockerfile
	@$(BIN)/hadolint Dockerfile

manifests: $(READY) machine  ## kubernetes-validate: what the kustomize overlays render to
	@$(BIN)/python tools/manifests.py

docs: $(READY)  ## write the tables of docs/, and what the client in Python has of the documents
	@$(BIN)/python -m tools.docs_tables
	@$(BIN)/python -m tools.python_client

docs-check: $(READY)
	@$(BIN)/python -m tools.docs_tables --check
	@$(BIN)/python -m tools.python_client --check

screenshots: $(READY) machine  ## write docs/images: the console of a running Operator, in a real Chromium
	@$(BIN)/python tools/screenshots.py

clients: $(READY) $(MODULES)  ## tsc --strict: the client for JavaScript and its tests
	@cd clients/js && PATH="$(abspath $(BIN)):$$PATH" && npm run --silent check

$(MODULES): %/node_modules/.package-lock.json: %/package-lock.json | $(READY)
	@cd $* && PATH="$(abspath $(BIN)):$$PATH" && npm ci --silent --no-audit --no-fund
	@touch $@

bench: $(READY)  ## measure Operator beside references made of the same libraries
	@$(BIN)/python -m bench $(ARGS)

chaos: $(READY) machine  ## search for lost events for minutes, while processes, the database and NATS are killed
	@CHAOS_SECONDS=$${CHAOS_SECONDS:-300} $(PYTEST) --timeout=0 $(ARGS) tests/cluster/test_history.py

sdks: $(READY)  ## 2,000 calls and 100 cut streams of OpenAI's SDK, behind a proxy that fails and processes that are killed
	@SDK_CALLS=$${SDK_CALLS:-2000} SDK_CUTS=$${SDK_CUTS:-100} $(PYTEST) --capture=no $(ARGS) tests/cluster/test_sdk_faults.py

attack: $(READY)  ## attack a pod with the shipped limits from three addresses, for ten minutes an engine
	@ATTACK_SECONDS=$${ATTACK_SECONDS:-600} $(PYTEST) --timeout=0 --capture=no $(ARGS) tests/cluster/attack.py

hashes: $(READY)  ## write requirements-image.txt: what the images install, with hashes
	@printf 'setuptools\n./clients/python\n' | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --constraint constraints.txt --extra browser --extra otel --no-annotate \
	  --no-emit-package operator-client \
	  --custom-compile-command 'make hashes' --output-file requirements-image.txt setup.cfg -

sbom: $(READY)  ## write what is in the images' Python, as CycloneDX, into build/
	@rm -rf build/wheels
	@$(PIP) wheel --quiet --require-hashes --no-deps --only-binary :all: --wheel-dir build/wheels \
	  --requirement requirements-image.txt
	@$(PIP) wheel --quiet --no-deps --no-index --find-links build/wheels --wheel-dir build/wheels ./clients/python .
	@sh tools/sbom $(BIN) build/wheels build

# BASE is a tag of Docker's image python, with a digest to build on that: make image BASE=3.14-slim-bookworm@sha256:...
image:  ## build both images on today's base image, by its digest (needs Docker)
	@sh tools/image $(BASE)

migrate: $(READY)  ## bring the database of OPERATOR_DATABASE_URL to the newest schema
	@$(BIN)/operator-svc migrate $(ARGS)

clean:  ## remove what the commands above made, except ./data
	rm -rf .venv .venv-* .cache build dist src/*.egg-info clients/python/src/*.egg-info clients/python/build .mypy_cache .pytest_cache .ruff_cache \
	  .hypothesis .import_linter_cache clients/js/node_modules clients/js/types tests/clients/*/node_modules bench/results/bench-quick.jsonl
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
