# `make demo` and `make test` need Python 3.10 or newer and make; everything else goes into .venv.
# Another interpreter: make PYTHON=python3.12 test

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test parity check format clean

demo: $(INSTALLED)  ## make a data set, compress a detector on it, print the table
	$(BIN)/prunus demo

test: $(INSTALLED)  ## unit and integration tests
	$(BIN)/python -m pytest

parity: $(INSTALLED)  ## compare with stored reference figures; needs PRUNUS_TEST_ASSETS
	$(BIN)/python -m pytest -m parity

check: $(INSTALLED)  ## what CI and pre-commit demand: style, types, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) runs

# Runs again only when what is to be installed has changed.
$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@
