# The commands of the README.  Everything is made inside this folder: the
# environment in .venv, the demonstration in demo.
VENV := .venv
BIN := $(VENV)/bin
SHELL := /bin/sh
export MPLBACKEND := Agg
# Tests run side by side; more threads in each would only get in their way.
test test-fast test-torch: export OMP_NUM_THREADS := 1

.PHONY: help demo bps-demo test test-fast test-torch lint bench docs wheel clean

help:
	@echo "make demo       simulate a visit, find its cosmic rays, print how good the finders are"
	@echo "make bps-demo   the same as a batch submission (bps, Parsl)"
	@echo "make test       run all tests             (make test-fast: only the quick ones)"
	@echo "make test-torch run the tests that need torch, which they install (5 GB)"
	@echo "make lint       ruff, mypy and numpydoc"
	@echo "make bench      time every engine beside its original program"
	@echo "make docs       build the documentation in doc/_build/html"
	@echo "make wheel      build a wheel in dist/"
	@echo "make clean      remove what these commands made"

demo: $(VENV)/installed
	@MEAS_COSMICRAYS_DIR="$(CURDIR)" $(BIN)/cosmicrays demo demo

bps-demo: $(VENV)/installed
	@MEAS_COSMICRAYS_DIR="$(CURDIR)" $(BIN)/cosmicrays bps-demo demo

test: $(VENV)/installed-test
	$(BIN)/python -m pytest -n 2 --dist loadscope

test-fast: $(VENV)/installed-test
	$(BIN)/python -m pytest -n 2 --dist loadscope -m "not slow"

test-torch: $(VENV)/installed-torch
	$(BIN)/python -m pytest -n 2 --dist loadscope tests/test_training.py tests/test_task_train_cosmic_conn.py \
	    tests/test_finder_cosmic_conn.py tests/test_engine_cosmic_conn_models.py

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	MYPYPATH=python $(BIN)/mypy -p lsst.meas.cosmicrays
	$(BIN)/python -m numpydoc.hooks.validate_docstrings $$(git ls-files 'python/*.py')

bench: $(VENV)/installed-test
	$(BIN)/python benchmarks/bench.py

docs: $(VENV)/installed-docs
	@$(BIN)/towncrier build --draft --version next > /dev/null  # Can the fragments be read?
	$(BIN)/sphinx-build -W --keep-going -q -b html doc doc/_build/html
	@echo "The documentation is in doc/_build/html/index.html."

wheel: $(VENV)/installed-test
	$(BIN)/python -m build --wheel

$(VENV)/bin/pip:
	@python=$$(sh tools/find_python.sh) || exit 1; \
	echo "Making an environment in $(VENV) with $$python ($$($$python --version))."; \
	$$python -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/installed: pyproject.toml | $(VENV)/bin/pip
	@echo "Installing the package and what it needs (about a minute)."
	@$(BIN)/python -m pip install --progress-bar off --editable . 2>&1 \
	    | grep --line-buffered -E '^(Collecting|Installing|Successfully installed|ERROR)' | cut -c1-100
	@$(BIN)/cosmicrays --version > /dev/null && touch $@

$(VENV)/installed-test: pyproject.toml | $(VENV)/bin/pip
	@echo "Installing the package, what it needs, and what its tests need."
	@$(BIN)/python -m pip install --quiet --progress-bar off --editable ".[test]"
	@$(BIN)/cosmicrays --version > /dev/null && touch $@

$(VENV)/installed-docs: pyproject.toml | $(VENV)/bin/pip
	@echo "Installing the package, what it needs, and what its documentation needs."
	@$(BIN)/python -m pip install --quiet --progress-bar off --editable ".[docs]"
	@touch $@

$(VENV)/installed-torch: pyproject.toml | $(VENV)/bin/pip
	@echo "Installing the package, what its tests need, and torch."
	@$(BIN)/python -m pip install --quiet --progress-bar off --editable ".[test,torch]"
	@touch $@

clean:
	rm -rf $(VENV) demo build dist doc/_build .pytest_cache .hypothesis .mypy_cache .ruff_cache
