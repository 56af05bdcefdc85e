# Everything a person or CI does with this tree. Nothing but GNU make and Python 3.11 or newer has to be there before.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# What a test run is given besides: make test ARGS="tests/unit -k watermark"
ARGS ?=

# Each of them has a Kafka of its own. The tests mostly wait: six keep two cores busy.
WORKERS ?= 6

# What was compiled is kept, whatever the environment says: each Python that starts would compile anew what it imports of
# this tree, and each run of the tests would rewrite the assertions of all of them.
export PYTHONDONTWRITEBYTECODE :=

# How many seeds `make simulate` runs.
SEEDS ?= 10000

.PHONY: help install demo test lint schemas kafka acceptance torture simulate mutants fuzz bench parts manual containers sbom audit lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

install: $(INSTALLED) ## make .venv with opt-out in it (the others do it by themselves)
	@echo "opt-out is installed: $(BIN)/opt-out --help"

demo: $(INSTALLED) ## see the whole thing work: no Docker, no Java, under a minute; ARGS="--format json" or registry
	@$(BIN)/opt-out demo $(ARGS)

test: $(INSTALLED) ## run all tests, on as many workers as WORKERS says; ARGS="..." goes to pytest
	@$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadscope $(ARGS)

lint: $(INSTALLED) ## ruff, mypy --strict, the direction of imports, and whether schemas are compatible
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --cache-dir .cache/import-linter
	@$(MAKE) --no-print-directory schemas

schemas: $(INSTALLED) ## hold schemas/ against those that were released, in both directions
	@cd tests && $(abspath $(BIN))/python -m support.released_schemas

kafka: $(INSTALLED) ## run the tests' Kafka in the foreground, until Ctrl-C
	@cd tests && exec $(abspath $(BIN))/python -m brokers

acceptance: $(INSTALLED) ## 100,000 events, two consumers, faults and a kill -9, judged from outside (3 minutes)
	@$(BIN)/python tests/soak/acceptance.py

torture: $(INSTALLED) ## 500,000 events; kills, pauses, a broker restart, an API that fails; ARGS="--events 20000 --seconds 60"
	@$(BIN)/python tests/soak/torture.py $(ARGS)

simulate: $(INSTALLED) ## SEEDS=10000 new seeds of the simulation: the service in virtual time, with faults
	@$(BIN)/python tests/simulation/simulate.py --seeds $(SEEDS)

mutants: $(INSTALLED) ## break what decides, commits, reads and calls in 5,000 places, one at a time: each has to be noticed (2 hours)
	@$(BIN)/python tests/mutation/mutants.py $(ARGS)

fuzz: $(INSTALLED) ## what comes from outside, sixty times as many examples as in the tests (10 minutes)
	@HYPOTHESIS_PROFILE=thorough $(BIN)/python -m pytest --numprocesses $(WORKERS) tests/fuzz $(ARGS)

bench: $(INSTALLED) ## the table of the manual's page on performance, of this machine (under 15 minutes on two cores, nothing beside it)
	@$(BIN)/python tests/benchmarks/run_all.py $(ARGS)

parts: $(INSTALLED) ## figures of single parts: the join, codecs, shared sessions, the report, metrics
	@$(BIN)/python tests/benchmarks/bench_join.py
	@$(BIN)/python tests/benchmarks/bench_codecs.py
	@$(BIN)/python tests/benchmarks/bench_sessions.py
	@$(BIN)/python tests/benchmarks/bench_report.py
	@$(BIN)/python tests/benchmarks/bench_metrics.py

manual: $(INSTALLED) ## write anew what the manual has from the code: settings, metrics, the dashboard, the fields of an outcome
	@$(BIN)/python -m consumer.manual.settings_page
	@$(BIN)/python -m consumer.server.metrics_page
	@$(BIN)/python -m consumer.server.dashboard
	@cd tests && $(abspath $(BIN))/python -m support.outcome_fields

containers: $(INSTALLED) ## the image and docker-compose.yml for real, on a Docker engine (3 minutes; exits 77 if skipped)
	@cd tests && exec $(abspath $(BIN))/python -m containers

sbom: $(INSTALLED) ## write what a deployment consists of to build/sbom.json (CycloneDX)
	@cd tests && $(abspath $(BIN))/python -m support.bill_of_materials

audit: $(INSTALLED) ## hold requirements.lock against known advisories; fails also where none were reached
	@cd tests && $(abspath $(BIN))/python -m support.dependency_audit $(ARGS)

lock: ## bring requirements.lock up to pyproject.toml, keeping what still fits (needs uv)
	@uv pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.11 --generate-hashes --no-annotate \
	    --no-emit-index-url --custom-compile-command "make lock" --output-file requirements.lock --quiet

clean: ## remove .venv and everything else that was made here
	rm -rf $(VENV) .cache build dist mutants .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The lock file has a hash for each package and pip checks them. The tree itself is installed in place, without
# isolation: its build backend comes out of the same lock file.
$(INSTALLED): requirements.lock pyproject.toml
	@python=""; \
	for candidate in $${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do \
	    if "$$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        python=$$candidate; break; \
	    fi; \
	done; \
	if [ -z "$$python" ]; then \
	    echo "There is no Python 3.11 or newer with its venv module here." >&2; \
	    echo "Install one (Debian, Ubuntu: apt install python3 python3-venv), or name it: make install PYTHON=/path/to/python3" >&2; \
	    exit 1; \
	fi; \
	echo "Installing into $(VENV) with $$($$python --version)"; \
	$$python -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m pip check >/dev/null || { echo "requirements.lock lacks what pyproject.toml asks for: make lock" >&2; exit 1; }
	@touch $@
