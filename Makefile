# make demo           set everything up, train a small language model from raw text to assistant, and serve it
# make demo ARGS=...  the same with options of `cutaway demo`, such as ARGS=--no-serve
# make test           lint (the page's source too) and every test
# make oracles        compare with llama.cpp and other peers, in an environment of their own that takes minutes to build
# make setup | lint | bench | clean
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# What the installed package is made from; the page's sources count, because installing builds the page.
SOURCES := pyproject.toml constraints.txt $(wildcard hatch_build.py) \
	$(shell find web -type d -name node_modules -prune -o -type f -print 2>/dev/null)

.PHONY: setup demo test oracles lint bench clean
.DELETE_ON_ERROR:

setup: .venv/.dev

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo "Cutaway needs Python 3.11, 3.12 or 3.13; name one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv .venv

# Two stamps: to run needs less than to develop.
.venv/.runtime: $(SOURCES) | .venv/bin/python
	@echo "Installing into .venv; the first time this takes some minutes."
	$(PIP) -e .
	@touch $@

.venv/.dev: $(SOURCES) | .venv/bin/python
	@echo "Installing into .venv; the first time this takes some minutes."
	$(PIP) -e '.[dev]'
	@touch .venv/.runtime $@

demo: .venv/.runtime
	$(BIN)/cutaway demo $(ARGS)

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/vulture
	$(BIN)/python hatch_build.py check

# Many tests wait, for a browser or for other processes: two at a time take little more than half as long.
test: lint
	$(BIN)/pytest -n 2 --dist loadfile $(ARGS)

# An environment of its own: building the peers takes minutes, and some of them want other versions than we do.
.venv-oracles/.built: $(SOURCES) | .venv/bin/python
	@echo "Building the peers into .venv-oracles; the first time this takes many minutes."
	test -x .venv-oracles/bin/python || .venv/bin/python -m venv .venv-oracles
	CMAKE_ARGS=-DLLAVA_BUILD=OFF .venv-oracles/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,oracles]'
	# For bench/train.py. By itself it asks for an older hub client than transformers does, and works with the newer.
	.venv-oracles/bin/python -m pip install --quiet --disable-pip-version-check --no-deps litgpt==0.5.13 lightning==2.6.6 \
		pytorch-lightning==2.6.6 lightning-utilities==0.15.3 torchmetrics==1.9.0 jsonargparse==4.53.0 docstring-parser==0.18.0
	@touch $@

oracles: .venv-oracles/.built
	.venv-oracles/bin/pytest -o norecursedirs= -o timeout=1200 tests/oracles $(ARGS)

bench: .venv/.dev
	@for script in bench/train.py bench/infer.py bench/model.py bench/attention.py; do echo "== $$script"; $(BIN)/python "$$script" || exit 1; done

clean:
	rm -rf .venv .venv-oracles build dist src/cutaway/serve/web src/cutaway/show/web web/node_modules .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
