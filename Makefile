# make, or make help: what there is. Variables, with what they are otherwise:
#   PYTHON=python3   the interpreter for the virtual environment      TESTS=tests   which tests: TESTS="tests/llm tests/trace"
#   VENV=.venv       where the virtual environment is                 JOBS=2        test processes side by side, 0 for none
#   FUZZ_SECONDS=3600  for each target of make fuzz
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
TESTS  ?= tests
JOBS   ?= 2
FUZZ_SECONDS ?= 3600

.DEFAULT_GOAL := help
.PHONY: help demo shell test fuzz check lint format types coverage docs install install-test install-docs system-packages \
  browser clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: install ## optimize a pick-and-place controller from nothing, 4 minutes at most, no key needed
	@echo "optimizing: 4 minutes at most, then 50 held-out episodes and two videos"
	$(BIN)/trace-robot optimize pick-place-v3 --policy do_nothing --optimizer search --out rollouts/runs/demo --overwrite

shell: install ## a shell in which trace-robot is found, as after: . .venv/bin/activate
	@. $(BIN)/activate && exec "$${SHELL:-/bin/sh}"

test: install-test browser check ## linter, type checker, whole test suite
	$(BIN)/pytest -n $(JOBS) $(TESTS)

fuzz: install-test ## nine readers of odd replies, graphs, stores, folders, policies, recordings and more, side by side for an hour
	FUZZ_SECONDS=$(FUZZ_SECONDS) $(BIN)/pytest -n 9 --dist load tests/fuzz

check: lint types ## linter and type checker

lint: install-test ## linter, and whether the code is formatted
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: install-test ## format the code, and mend what the linter can mend
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

types: install-test ## type checker
	$(BIN)/mypy

coverage: install-test browser ## lines and branches that the tests reach, in the terminal and as htmlcov/index.html
	$(BIN)/coverage erase
	status=0; $(BIN)/coverage run -m pytest -n $(JOBS) $(TESTS) || status=$$?; \
	  $(BIN)/coverage combine --quiet && $(BIN)/coverage html --quiet && $(BIN)/coverage report && exit $$status

docs: install-docs ## the guide as a static site in site/, links checked
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	$(BIN)/python docs/check_site.py site

install: $(VENV)/.installed ## the library in a virtual environment
install-test: $(VENV)/.installed-test ## the same with what the tests need
install-docs: $(VENV)/.installed-docs ## the same with what the guide needs

$(VENV)/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo "python3 is missing; install it with: apt-get install python3 python3-venv"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "Python 3.10 or newer is needed; $(PYTHON) is $$($(PYTHON) --version)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "python3-venv is missing; install it with: apt-get install python3-venv"; rm -rf $(VENV); exit 1; }

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml hatch_build.py
	@echo "installing MuJoCo, Meta-World and numpy in $(VENV): 510 MB on disk, some minutes without a further line"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

# Without compiling: of 15,000 files a test run imports few, which Python compiles then. One install in place of two,
# since each sets up what builds the package.
$(VENV)/.installed-test: $(VENV)/bin/python pyproject.toml hatch_build.py
	@echo "installing the library and what its tests need in $(VENV): 1.7 GB on disk, some minutes without a further line"
	$(BIN)/python -m pip install --no-compile --quiet --disable-pip-version-check -e '.[test]'
	@touch $(VENV)/.installed $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	@touch $@

# What pictures and page tests use where they are present; tests that need them say so where they are not.
system-packages: ## GL libraries, chromium, graphviz and a font, by apt-get; needs root
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends \
	    libegl1 libgl1-mesa-dri libosmesa6 chromium graphviz fonts-dejavu-core >/dev/null; \
	else echo "not root, or no apt-get: tests that need a GL library, chromium or graphviz will be skipped"; fi

# The tests of pages need a browser; without one they are skipped and say so.
browser: ## the system packages, where chromium is missing
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || $(MAKE) --no-print-directory system-packages

clean: ## remove the virtual environment and what was built
	rm -rf $(VENV) build dist site htmlcov .coverage .coverage.* *.egg-info
