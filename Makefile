PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# One thread per test worker: two threads on busy cores are several times slower than one.
TEST_ENV := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

.PHONY: demo site test test-cluster lint install clean

demo: install
	$(BIN)/karmma run recipes/demo.yaml --out runs/demo

# Tests of one file go to one worker: what a file prepares is prepared once.
test: install
	$(BIN)/ruff check src tests scripts benchmarks examples
	$(BIN)/mypy
	$(TEST_ENV) $(BIN)/pytest -n 2 --dist loadfile

# The documentation as pages, with references of commands, recipes and Python: site/index.html
site: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# The parts of the tests that need Ray (half a gigabyte): a cluster of two nodes, one of which is killed.
test-cluster: install
	$(BIN)/python -m pip install --quiet --editable ".[cluster]"
	$(TEST_ENV) $(BIN)/pytest tests/preparation/test_cluster.py

lint: install
	$(BIN)/ruff check src tests scripts benchmarks examples
	$(BIN)/mypy

install: $(STAMP)

$(STAMP): pyproject.toml scripts/install_torch.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=24"
	$(BIN)/python scripts/install_torch.py
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $(STAMP)

clean:
	rm -rf $(VENV) runs site .pytest_cache .mypy_cache .ruff_cache
