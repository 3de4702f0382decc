# make quickstart   set up .venv and run examples/first-llm end to end
# make test         set up .venv with the test extras and run the tests
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: quickstart test slow prove check format clean

quickstart: $(VENV)/.core
	$(BIN)/groundup run examples/first-llm

# One thread a test process: two processes of two threads each on two cores would crawl.
test slow prove: export OMP_NUM_THREADS = 1

test: $(VENV)/.test
	$(BIN)/python -m pytest -n 2

slow: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 -m slow

prove: $(VENV)/.test
	$(BIN)/python -m pytest -m prove

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# torch first and alone: a range resolved together with other packages can pull a second build of it.
$(VENV)/.torch: constraints.txt
	@test -n "$(PYTHON)" || { echo "groundup needs Python 3.11 or later on the PATH" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) "$$(grep '^torch==' constraints.txt)"
	@touch $@

$(VENV)/.core: $(VENV)/.torch pyproject.toml
	$(PIP) --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.torch pyproject.toml
	$(PIP) --editable ".[test]"
	@touch $@ $(VENV)/.core

$(VENV)/.dev: $(VENV)/.torch pyproject.toml
	$(PIP) --editable ".[dev]"
	@touch $@ $(VENV)/.test $(VENV)/.core

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
