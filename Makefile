# The two commands a newcomer needs: `make run` and `make test`. Everything is installed into .venv
# and, compiled, into build/; nothing elsewhere.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# The clone is installed as it is, for development. The compiled engine lies apart from it, in a folder that is put before
# it on Python's path; what is under tests/ and bench/ comes from the clone either way.
COMPILED := build/compiled
ifneq ($(TALLYSTICK_COMPILE),0)
ENGINE := $(COMPILED)/built
WITH_ENGINE := PYTHONSAFEPATH=1 PYTHONPATH=$(CURDIR)/$(COMPILED):$(CURDIR)
TEST_COMPILED := test-compiled
endif
BINARY := build/binary
# Tests share nothing but the machine, so each of its processors runs some.
SPREAD := -n auto --dist worksteal
BOOK_TESTS := $(wildcard $(patsubst book/%,tests/test_%,$(wildcard book/*.py)) tests/test_differential.py) tests/test_engine_random.py tests/test_engine_wild.py tests/test_icebergs.py tests/test_price_band.py tests/test_compiled.py

.PHONY: help run test test-compiled check soak bench binary docs docs-reference format lint lock clean

help:
	@echo "make run     the demo exchange on 127.0.0.1:7700, data kept in ./demo-data"
	@echo "make test    everything: format, lint, types, import rules, all tests (minutes)"
	@echo "make check   the same without the tests that start real processes (some minutes)"
	@echo "make soak    all tests with the large counts (long)"
	@echo "make bench   the published benchmarks"
	@echo "make binary  the exchange as one file, build/binary/tallystick, and try it"
	@echo "make docs    the documentation as a site, build/site"
	@echo "make docs-reference  the protocol's tables and JSON Schema, from the code"
	@echo "make format  put the code into its one format"

run: $(VENV)/installed-run $(ENGINE)
	@$(WITH_ENGINE) $(BIN)/tallystick demo --data ./demo-data

test: lint $(TEST_COMPILED) build/ansible/installed
	@$(BIN)/pytest $(SPREAD)

check: lint
	@$(BIN)/pytest $(SPREAD) -m "not process"

test-compiled: $(VENV)/installed-dev $(ENGINE)
	@ls $(COMPILED)/book__mypyc* >/dev/null 2>&1 || ! command -v cc >/dev/null || { echo "make: there is a C compiler, but the engine is not compiled; see build/compile.log"; exit 1; }
	@$(WITH_ENGINE) $(BIN)/pytest --import-mode=append --quiet $(SPREAD) -m "not process" -k "not planted_bug" $(BOOK_TESTS)

soak: lint
	@TALLYSTICK_SOAK=1 $(BIN)/pytest --timeout 36000 $(SOAK_ARGS)

docs-reference: $(VENV)/installed-run
	@$(BIN)/python -m tallystick.reference

bench: $(VENV)/installed-dev $(ENGINE)
	@$(BIN)/python -m bench.engine mix --runs 3
	@$(WITH_ENGINE) $(BIN)/python -m bench

# One file that needs no Python. It is made in an environment of its own, of what requirements/binary.txt has locked.
binary: $(BINARY)/tallystick
	@$(VENV)/bin/python -m tests.binary_check $(BINARY)/tallystick

$(BINARY)/tallystick: $(BINARY)/installed $(COMPILED)/built $(wildcard deploy/binary/*) supervisor.py $(wildcard actors/*.py chains/*.py persistence/*.py persistence/*/* tallystick/*.py)
	@ls $(COMPILED)/book__mypyc* >/dev/null 2>&1 || { echo "make: the engine in the binary is the compiled one, and it could not be compiled; see build/compile.log"; exit 1; }
	@echo "make: making $@ (takes a while) ..."
	@$(WITH_ENGINE) $(BINARY)/venv/bin/pyinstaller --noconfirm --log-level ERROR --distpath $(BINARY) --workpath $(BINARY)/work deploy/binary/tallystick.spec

$(BINARY)/installed: requirements/binary.txt
	@echo "make: installing what the binary is made of into $(BINARY)/venv ..."
	@$(PYTHON) -m venv $(BINARY)/venv
	@$(BINARY)/venv/bin/pip --disable-pip-version-check --quiet install --require-hashes -r requirements/binary.txt
	@touch $@

docs: build/docs/installed
	@build/docs/venv/bin/mkdocs build --quiet --strict
	@echo "make: the site is in build/site"

build/docs/installed: requirements/docs.txt
	@echo "make: installing what makes the site into build/docs/venv ..."
	@$(PYTHON) -m venv build/docs/venv
	@build/docs/venv/bin/pip --disable-pip-version-check --quiet install --require-hashes -r requirements/docs.txt
	@touch $@

# What deploys: Ansible, in an environment of its own.
build/ansible/installed: requirements/deploy.txt
	@echo "make: installing Ansible into build/ansible ..."
	@$(PYTHON) -m venv build/ansible
	@build/ansible/bin/pip --disable-pip-version-check --quiet install --require-hashes -r requirements/deploy.txt
	@touch $@

lint: $(VENV)/installed-dev
	@$(BIN)/ruff format --check --quiet . || { echo "make: some files are not in format; 'make format' mends it"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: $(VENV)/installed-dev
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

LOCK := build/lock/bin/pip-compile --quiet --upgrade --generate-hashes --strip-extras --allow-unsafe --no-annotate --no-header --no-emit-index-url --no-emit-find-links --no-emit-trusted-host

lock:  # new versions within pyproject.toml's ranges, with hashes
	@$(PYTHON) -m venv build/lock && build/lock/bin/pip install --quiet pip-tools
	$(LOCK) -o requirements/run.txt pyproject.toml
	$(LOCK) --extra dev -o requirements/dev.txt pyproject.toml
	$(LOCK) --extra binary -o requirements/binary.txt pyproject.toml
	$(LOCK) -o requirements/docs.txt requirements/docs.in
	$(LOCK) -o requirements/deploy.txt requirements/deploy.in

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: Tallystick needs Python 3.11 or newer; name one: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@echo "make: creating $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)

$(VENV)/installed-run: requirements/run.txt pyproject.toml | $(VENV)/bin/python
	@echo "make: installing what the exchange needs into $(VENV) ..."
	@$(PIP) install --require-hashes -r requirements/run.txt
	@TALLYSTICK_COMPILE=0 PYTHONWARNINGS=ignore $(PIP) install --no-deps -e .
	@touch $@

$(VENV)/installed-dev: requirements/dev.txt $(VENV)/installed-run
	@echo "make: installing what the tests need into $(VENV) ..."
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@

$(COMPILED)/built: $(wildcard book/*.py) setup.py pyproject.toml | $(VENV)/bin/python
	@echo "make: compiling the engine (once; it takes a while) ..."
	@rm -rf build/lib* build/target build/compile.log $(COMPILED)
	@$(PIP) install --no-deps --target build/target --log build/compile.log .
	@mkdir -p $(COMPILED) && mv build/target/book* $(COMPILED) && rm -rf build/target
	@sed -n 's/.*  *tallystick: the engine/make: the engine/p' build/compile.log
	@touch $@
