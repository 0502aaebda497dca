# Two commands do everything on a fresh machine with Python 3.11 or newer: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test suite lint docs setup test-newest test-oldest clean

demo: $(VENV)/.ready
	$(BIN)/metadcseg demo --out demo

# The tests write a hundred thousand small files: into memory where it has room for them, and gone at the end.
MEMORY := $(shell df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 && $$4 > 4000000 {print "/dev/shm"}')

test: setup  # side by side: mypy leaves a core idle
	$(MAKE) -j 2 lint suite

suite: setup
	scratch=$$(mktemp -d "$(or $(MEMORY),$${TMPDIR:-/tmp})/metadcseg-tests.XXXXXX") && trap 'rm -rf "$$scratch"' EXIT && trap 'exit 130' INT TERM && \
	TMPDIR=$$scratch $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: setup  # the site, into site/; every warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

setup: $(VENV)/.ready-dev

# what the program itself needs; pip, not another installer: see constraints.txt
$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'metadcseg needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 ...')"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.ready-dev: $(VENV)/.ready
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

# The wheel in an environment of its own, with the newest release of everything, or with the oldest that
# pyproject.toml names. By hand, where dependencies change: torch from PyPI is a CUDA build of several GB.
# SimpleITK 2.4 warns while it is imported, and Python dies of that where warnings are errors.
test-oldest: WARNINGS := -W default
test-newest test-oldest: test-%:
	rm -rf .venv-$* build dist
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/pip install --quiet --upgrade pip build
	.venv-$*/bin/python -m build --quiet --wheel
	$(PYTHON) studies/lowest_versions.py $* > .venv-$*/constraints.txt
	.venv-$*/bin/pip install --quiet --constraint .venv-$*/constraints.txt "$$(ls dist/*.whl)[dev]"
	.venv-$*/bin/python -m pytest tests/gradients tests/contract tests/unit tests/end_to_end/test_main_path.py $(WARNINGS) --numprocesses auto --maxprocesses 4 --dist loadfile

clean:
	rm -rf $(VENV) .venv-newest .venv-oldest build dist demo site
