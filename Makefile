# Everything one does here. The first use of a verb installs what it needs into .venv, from the locked requirements.
#
#   make demo          the whole exchange in one process: loads the seed story, trades it, shows it, serves it
#   make demo-kafka    the same with a local Kafka broker and separate processes
#   make test          all tests, with a real PostgreSQL and a real Kafka    (ARGS="tests/local -x")
#   make check         style, types, house rules: what CI checks before the tests
#   make bench         the claims about speed, measured here         (ARGS="engine --seconds 2")
#   make chaos         long fault runs on a Kafka cluster of three nodes
#   make debian        all tests on a bare Debian 13 (Python 3.13), for root with debootstrap; see tests/bare_debian.sh
#   make compile       the rules as machine code, where there is a C compiler; the verbs above do it by themselves
#   make lock          requirements*.txt and local/kafka_jars.txt anew, from pyproject.toml
#   make clean         removes .venv and caches; never data
#
# ARGS is passed on, as in: make demo ARGS="--once --json"

ARGS ?=
VENV := .venv
BIN := $(VENV)/bin

# The first Python that is new enough; another one: make demo PYTHON=/path/to/python3
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11,\
	$(shell $(name) -c '$(NEW_ENOUGH)' >/dev/null 2>&1 && echo $(name))))

PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input --root-user-action=ignore

.PHONY: demo demo-kafka test check bench chaos debian compile lock clean

demo: compile
	@$(BIN)/tidings demo $(ARGS)

demo-kafka: compile
	@$(BIN)/tidings demo --kafka $(ARGS)

test: $(VENV)/.installed-dev compile
	@$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/.installed-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q tests/test_house_rules.py

bench: $(VENV)/.installed-dev compile
	@$(BIN)/python -m bench $(ARGS)

chaos: $(VENV)/.installed-dev compile
	@$(BIN)/python -m pytest -m chaos $(ARGS)

debian:
	@tests/bare_debian.sh $(ARGS)

# Where there is a C compiler: the rules as machine code, anew after each change of them. See local/compile.py.
compile: $(VENV)/.installed
	@$(BIN)/python -m local.compile

# One lock for Linux and macOS, Python 3.11 and newer. ARGS=--upgrade takes the newest versions.
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command "make lock" $(ARGS) pyproject.toml

lock: $(VENV)/.installed-dev
	$(LOCK) --group build --output-file requirements.txt
	$(LOCK) --group build --group dev --constraint requirements.txt --output-file requirements-dev.txt
	$(BIN)/python -m local.jars

clean:
	rm -rf $(VENV) build dist tidings__mypyc*.so .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find consumers domain messages -name "*.so" -delete
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(or $(PYTHON),false) -c '$(NEW_ENOUGH)' || { \
		echo 'Tidings needs Python 3.11 or newer: make $(MAKECMDGOALS) PYTHON=/path/to/python3' >&2; exit 1; }
	@echo 'Installing into $(VENV), once: a minute or so' >&2
	@$(PYTHON) -m venv $(VENV)

# The project itself is editable: one sees what one changes. Its version of a package is always the locked one.
$(VENV)/.installed: requirements.txt pyproject.toml | $(BIN)/python
	@$(PIP_INSTALL) --require-hashes --requirement requirements.txt
	@$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed | $(BIN)/python
	@$(PIP_INSTALL) --require-hashes --requirement requirements-dev.txt
	@touch $@
