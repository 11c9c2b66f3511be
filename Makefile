# All tasks of this repository. A target first installs what it needs into .venv, from the locked requirements.
#
#   make demo          run the whole exchange in one process: load the seed story, trade on it, show and serve it
#   make demo-kafka    the same with a local Kafka broker and separate processes
#   make serve         run your own exchange, without a story
#   make export        write the log and all tables of your exchange as Parquet    (ARGS=DIR; installs DuckDB first)
#   make test          run all tests, with a real PostgreSQL and a real Kafka    (ARGS="tests/local -x", WORKERS=0 for one process)
#   make test-next     run the tests of eventsourcing_kafka that depend on its library, with the library's next release
#   make check         check style, types, house rules, licences and known vulnerabilities, as CI does before the tests
#   make bench         measure the claims about speed                (ARGS="engine --seconds 2")
#   make chaos         run long tests: faults on a Kafka cluster of three nodes, kills under load, hostile requests and records
#   make library       test eventsourcing_kafka with the oldest and the newest versions of what it needs
#   make compile       compile the rules if there is a C compiler; all targets above except check do this first
#   make debian        run all tests on a bare Debian 13 with Python 3.13; needs root, see tests/bare_debian.sh
#   make lock          write requirements*.txt and local/kafka_jars.txt from pyproject.toml
#   make clean         remove .venv and caches, never data
#
# ARGS is passed to the program, as in: make demo ARGS="--once --json"

ARGS ?=
# The tests of a file run in one worker, which has its own servers. Most tests wait for something, so two workers halve the time.
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin

# The first Python that is new enough. To choose another one: make demo PYTHON=/path/to/python3
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11,\
	$(shell $(name) -c '$(NEW_ENOUGH)' >/dev/null 2>&1 && echo $(name))))

# A pre-release of the eventsourcing library, which comes before the locked release if Python looks here first.
NEXT := build/eventsourcing-next

PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input --root-user-action=ignore

.PHONY: demo demo-kafka serve export test test-next check bench chaos library debian compile lock clean

demo: compile
	@$(BIN)/tidings demo $(ARGS)

demo-kafka: compile
	@$(BIN)/tidings demo --kafka $(ARGS)

serve: compile
	@$(BIN)/tidings serve $(ARGS)

export: compile $(VENV)/.installed-analysts
	@$(BIN)/tidings export $(ARGS)

test: $(VENV)/.installed-dev $(NEXT)/.installed compile
	@$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile $(ARGS)

test-next: $(NEXT)/.installed
	@PYTHONPATH=$(CURDIR)/$(NEXT) $(BIN)/python -m pytest tests/eventsourcing_kafka $(ARGS)

check: $(VENV)/.installed-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m tests.javascript_types
	@$(BIN)/python -m pytest -q tests/test_*_rules.py
	@$(BIN)/python -m tests.supply_chain

bench: $(VENV)/.installed-dev compile
	@$(BIN)/python -m bench $(ARGS)

chaos: $(VENV)/.installed-dev compile
	@$(BIN)/python -m pytest -m chaos -o faulthandler_timeout=7500 $(ARGS)  # longer than the longest of them

library: $(VENV)/.installed-dev
	@$(BIN)/python -m tests.library_versions $(ARGS)

debian:
	@tests/bare_debian.sh $(ARGS)

# What only analysts need, in its locked version.
$(VENV)/.installed-analysts: requirements-dev.txt $(VENV)/.installed
	@awk '/^[a-z]/ { chosen = /^duckdb==/ } chosen' requirements-dev.txt > $(VENV)/analysts.txt
	@$(PIP_INSTALL) --require-hashes --no-deps --requirement $(VENV)/analysts.txt
	@touch $@

# If there is a C compiler, compiles the rules after each change of them. See local/compile.py.
compile: $(VENV)/.installed
	@$(BIN)/python -m local.compile

# One lock for Linux and macOS, for Python 3.11 and newer. ARGS=--upgrade takes the newest versions.
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command "make lock" $(ARGS)

# requirements.txt: what runs; -build: what compiles and packages it, beside that; -image: what lists the packages of an
# image; -dev: all of these, and the tests.
lock: $(VENV)/.installed-dev
	$(LOCK) pyproject.toml --output-file requirements.txt
	$(LOCK) pyproject.toml --group build --constraint requirements.txt --output-file requirements-build.txt
	$(LOCK) pyproject.toml --group build --group image --group dev --constraint requirements-build.txt \
		--output-file requirements-dev.txt
	$(LOCK) --group image --constraint requirements-dev.txt --output-file requirements-image.txt
	$(BIN)/python -m local.jars

$(NEXT)/.installed: tests/eventsourcing_kafka/requirements-next.txt | $(VENV)/.installed-dev
	@rm -rf $(NEXT)
	@$(PIP_INSTALL) --require-hashes --no-deps --target $(NEXT) --requirement $<
	@touch $@

clean:
	rm -rf $(VENV) build dist tidings__mypyc*.so .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find consumers domain messages -name "*.so" -delete
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(or $(PYTHON),false) -c '$(NEW_ENOUGH)' || { \
		echo 'Tidings needs Python 3.11 or newer: make $(MAKECMDGOALS) PYTHON=/path/to/python3' >&2; exit 1; }
	@echo 'Installing into $(VENV), once: about a minute' >&2
	@$(PYTHON) -m venv $(VENV)

# The project itself is installed as editable; every other package in its locked version.
$(VENV)/.installed: requirements-build.txt pyproject.toml | $(BIN)/python
	@$(PIP_INSTALL) --require-hashes --requirement requirements-build.txt
	@$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed | $(BIN)/python
	@$(PIP_INSTALL) --require-hashes --requirement requirements-dev.txt
	@touch $@
