# Two commands for everybody: `make demo` and `make test`. Each needs only Python 3.11+ and pip.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Every test uses one thread; a file's tests share what they prepare, so they stay together.
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile
INSTALLED := $(VENV)/.installed

.PHONY: demo test lint types check check-slow clean

demo: $(INSTALLED)
	$(BIN)/redhanded demo

test: $(INSTALLED)
	$(PYTEST) -m "not slow"

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)
	$(BIN)/mypy

check: lint types test

# What takes longer than a test should: claims judged in the demo world, kills, yardsticks.
check-slow: $(INSTALLED)
	$(PYTEST) -m slow

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
