# Every target needs only python3 (3.10+, with pip) and a network; the rest goes into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
STAMP := $(VENV)/.synced
# A built copy of the engine's own UI.
UI ?= ../shared/conductor-ui.tar.gz
# Without the theme's advertisement for its successor.
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs

# Tests side by side: those on the engine mostly wait, and each worker has an engine of its own.
PARALLEL := -n 3
# Compiling every module again in each of the processes that tests start takes a third of the time.
unexport PYTHONDONTWRITEBYTECODE
PYTHONS := 3.10 3.11 3.12 3.13
# uv finds an interpreter on the PATH, in pyenv, or downloads one.
PYENVS := $(shell printf ':%s' $(HOME)/.pyenv/versions/*/bin)
# The least branch coverage of a room, in percent.
FLOORS := contract:99 dialpad:99 pacing:98 tasks:98 worker:87

.DEFAULT_GOAL := help
.PHONY: help demo dev check test test-all matrix lint audit format docs pictures bench soak mutants build image clean

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	  || { echo "dialpad-ivr needs Python 3.10 or newer; name one with: make PYTHON=python3.12 ..."; exit 1; }
	@echo "Making a virtual environment in $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9,<1'

$(STAMP): $(UV) pyproject.toml uv.lock
	@echo "Installing what uv.lock names ..."
	@VIRTUAL_ENV=$(VENV) $(UV) sync --frozen --quiet --active --python $(BIN)/python --inexact --compile-bytecode
	@touch $@

demo: $(STAMP)  ## Run real workflows end to end on an embedded engine, and show what happened
	@$(BIN)/dialpad-ivr demo

dev: $(STAMP)  ## Keep that engine, a Dialpad double, a worker and the console running until Ctrl-C
	@$(BIN)/dialpad-ivr dev

check: lint  ## Before each commit: lint, and the unit tests with branch coverage
	@$(BIN)/pytest tests/unit -n 4 --dist worksteal -m "not long" -q --cov --cov-report= $(ARGS)
	@$(BIN)/coverage report
	@printf '%s\n' $(FLOORS) | xargs -P 2 -I{} sh -c 'floor={}; \
	  $(BIN)/coverage report --include="*/dialpad_ivr/$${floor%:*}/*" --fail-under=$${floor#*:} --format=total >/dev/null \
	    || { echo "The branch coverage of $${floor%:*} is below $${floor#*:} %."; exit 1; }'

# The servers of tests live for minutes: what their optimizing compiler costs would not come back. And each test waits for
# one of several, while all look for work: once in 100 ms will do.
test test-all: export JDK_JAVA_OPTIONS := -XX:TieredStopAtLevel=1 -Dconductor.app.sweeperThreadCount=2 \
  -Dconductor.app.systemTaskQueuePopTimeout=0 -Dconductor.app.systemTaskWorkerPollInterval=100

test: $(STAMP)  ## Run the unit tests, and a selection on the real engine
	@$(BIN)/pytest $(PARALLEL) -m "not long" $(ARGS)

test-all: $(STAMP)  ## Run all tests; ARGS="-m long" for those that `make test` leaves out
	@$(BIN)/pytest $(PARALLEL) --hypothesis-profile=thorough $(ARGS)

matrix: $(STAMP)  ## Run the unit tests on every Python version supported; PYTHONS="3.10 3.13" for some
	@for version in $(PYTHONS); do \
	  echo "Python $$version"; \
	  PATH="$$PATH$(PYENVS)" UV_PROJECT_ENVIRONMENT=$(VENV)/python-$$version $(UV) run --frozen --quiet --python $$version \
	    pytest tests/unit $(PARALLEL) -q $(ARGS) || exit 1; done

lint: $(STAMP)  ## Check style, types, imports, that generated files match, and that the docs build
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python -m tools.generate --check
	@$(MKDOCS) build --strict --quiet

audit: $(STAMP)  ## Check the locked dependencies for known vulnerabilities; asks OSV
	@$(UV) audit --frozen --no-dev --preview-features audit-command

format: $(STAMP)  ## Format the code and regenerate task_defs/, docs/reference/ and llms.txt
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
	@$(BIN)/python -m tools.generate

docs: $(STAMP)  ## Serve the docs on this machine, and build them again whenever a page changes
	@$(MKDOCS) serve --livereload

pictures: $(STAMP)  ## Retake the pictures in docs/img/; UI=FOLDER_OR_TAR_GZ is a built Conductor UI
	@PYTHONPATH=tests $(BIN)/python tests/browser/pictures.py $(UI)

bench: $(STAMP)  ## Measure against strict limits and peers; ARGS="-k peers" for a part, BENCH_LARGE=1 for all
	@BENCH_LARGE=$(BENCH_LARGE) $(BIN)/python -m pytest tests/bench -s $(ARGS)

soak: $(STAMP)  ## An hour of faults, or SOAK_TASKS=20000 changes; SOAK_SEED=5 for another script
	@SOAK_TASKS=$${SOAK_TASKS:-20000} SOAK_SECONDS=$${SOAK_SECONDS:-3600} \
	  $(BIN)/pytest -q -s tests/faults/test_storm.py

mutants: $(STAMP)  ## Test the tests of what decides by changing the code; ARGS="circuit" for one module of tools/mutants.py
	@VIRTUAL_ENV=$(VENV) $(UV) sync --frozen --quiet --active --python $(BIN)/python --inexact --group mutants
	@nice -n 15 $(BIN)/python -m tools.mutants $(ARGS)

build: $(STAMP)  ## Build the wheel, the source distribution and an SBOM into dist/; fails if a second build differs
	@SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) $(BIN)/python -m tools.build

image: $(STAMP)  ## Build the container image with docker, podman or buildah; BASE=debian if no registry is reached
	@$(BIN)/python -m tools.image --base $(or $(BASE),registry) $(if $(ENGINE),--engine $(ENGINE))

clean:  ## Remove the virtual environment and everything built
	rm -rf $(VENV) dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage*
