# Everything here works in a fresh clone with Python 3.11 or later and make; each target makes its virtual environment by itself.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do $$python -c "" 2>/dev/null && echo $$python && break; done)
VENV ?= .venv
LOCK ?= requirements/dev.txt
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
AUDIT := $(VENV)-audit
JUDGES := tests/judges/node_modules/.installed
UV_LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--custom-compile-command "make lock"
UV_COMPILE := $(UV_LOCK) pyproject.toml

.PHONY: help demo emulator test simulate chaos soak judges lint format docs bench audit lock clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(INSTALLED): pyproject.toml $(LOCK)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --requirement $(LOCK)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(INSTALLED)  ## run the example application on the local emulator; PORT is its port (8000)
	$(BIN)/python -m example_app

emulator: $(INSTALLED)  ## run the local emulator alone; OPTIONS="--tls" for credentials
	$(BIN)/python -m fastapi_azure_pool.emulator $(OPTIONS)

# Half of the tests' time is waiting for sockets and processes: one half of them runs beside the other, and is shown after it. What runs
# in processes of its own, so that its coverage is not measured, runs beside both.
BESIDE := tests/clients tests/example_app tests/sending tests/testing
APART := tests/chaos tests/simulation

test: $(INSTALLED) $(JUDGES)  ## run every test, and hold the branch coverage to its bounds
	@$(BIN)/coverage erase
	@$(BIN)/python -X dev -m coverage run --parallel-mode -m pytest $(BESIDE) >.beside.log 2>&1 & beside=$$!; \
	$(BIN)/python -X dev -m pytest $(APART) >.apart.log 2>&1 & apart=$$!; \
	$(BIN)/python -X dev -m coverage run --parallel-mode -m pytest tests $(BESIDE:%=--ignore=%) $(APART:%=--ignore=%); others=$$?; \
	wait $$beside; beside=$$?; wait $$apart; apart=$$?; cat .beside.log .apart.log; \
	[ $$beside -eq 0 ] && [ $$apart -eq 0 ] && [ $$others -eq 0 ]
	@$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --include='fastapi_azure_pool/pool/*' --fail-under=100
	$(BIN)/coverage report --fail-under=90

simulate: $(INSTALLED)  ## live SEEDS (100000) random lives of each kind on all cores, or replay one: SEED=17
	@$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),100000) --first $(or $(FIRST),0)) \
		$(if $(WORLD),--world $(WORLD))

chaos: $(INSTALLED)  ## load and faults for MINUTES (1) on the example application, then reconcile; SEED=17 repeats the faults
	@$(BIN)/python -m tests.chaos --minutes $(or $(MINUTES),1) $(if $(SEED),--seed $(SEED))

soak: $(INSTALLED)  ## check out CHECKOUTS (2000000) times, ask REQUESTS (200000) times: nothing may be left of it
	@$(BIN)/python -m tests.soak $(if $(CHECKOUTS),--checkouts $(CHECKOUTS)) $(if $(REQUESTS),--requests $(REQUESTS))

# Installed once, whatever the virtual environment: they are plain JavaScript.
$(JUDGES): tests/judges/package-lock.json | $(INSTALLED)
	$(BIN)/python -m tests.judges.installing

judges: $(JUDGES)  ## install the servers of others against which the tests run as well

lint: $(VENV)/.bench  ## check format, style, types and that the documentation builds
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

format: $(INSTALLED)  ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(INSTALLED)  ## serve the documentation at http://127.0.0.1:8001
	$(BIN)/mkdocs serve --dev-addr 127.0.0.1:8001

$(VENV)/.bench: $(INSTALLED) requirements/bench.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --requirement requirements/bench.txt
	@touch $@

bench: $(VENV)/.bench  ## measure against the peers; writes docs/benchmarks.md and its plot
	$(BIN)/python -m tests.benchmarks

$(AUDIT)/.installed: requirements/audit.txt
	$(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --requirement $<
	@touch $@

# Not what lowest.txt pins: that is the oldest that works, and no advice. What cannot be looked up is an error, not clean.
audit: $(AUDIT)/.installed  ## look for known vulnerabilities in what is pinned (on the internet), and for risky code
	$(AUDIT)/bin/bandit --quiet --configfile pyproject.toml --recursive fastapi_azure_pool example_app
	$(AUDIT)/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner off \
		--requirement requirements/dev.txt --requirement requirements/bench.txt --requirement requirements/audit.txt

lock:  ## renew requirements/*.txt (needs uv on the path)
	$(UV_COMPILE) --extra dev --output-file requirements/dev.txt
	$(UV_COMPILE) --extra dev --group bench --constraint requirements/dev.txt --output-file requirements/bench.txt
	$(UV_LOCK) --group audit --output-file requirements/audit.txt
	$(UV_COMPILE) requirements/lowest.in --extra dev --resolution lowest-direct --output-file requirements/lowest.txt

clean:  ## remove what the targets made
	rm -rf .venv .venv-* tests/judges/node_modules .coverage .coverage.* .beside.log .apart.log .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist site
