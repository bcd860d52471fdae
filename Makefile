# make demo   optimize a pick-and-place controller from nothing, no key needed
# make test   linter, type checker, whole test suite
# make docs   the guide as a static site in site/, links checked
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin

.PHONY: demo test check docs install install-test install-docs system-packages browser clean

demo: install
	$(BIN)/trace-robot optimize pick-place-v3 --policy do_nothing --optimizer search --out rollouts/runs/demo --overwrite

test: install-test browser check
	$(BIN)/pytest -n 2

check: install-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: install-docs
	$(BIN)/mkdocs build --strict --quiet
	$(BIN)/python docs/check_site.py site

install: $(VENV)/.installed
install-test: $(VENV)/.installed-test
install-docs: $(VENV)/.installed-docs

$(VENV)/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo "python3 is missing; install it with: apt-get install python3 python3-venv"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "Python 3.10 or newer is needed; $(PYTHON) is $$($(PYTHON) --version)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "python3-venv is missing; install it with: apt-get install python3-venv"; rm -rf $(VENV); exit 1; }

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml hatch_build.py
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	@touch $@

# What pictures and page tests use where they are present; tests that need them say so where they are not.
system-packages:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends \
	    libegl1 libgl1-mesa-dri libosmesa6 chromium graphviz fonts-dejavu-core >/dev/null; \
	else echo "not root, or no apt-get: tests that need a GL library, chromium or graphviz will be skipped"; fi

# The tests of pages need a browser; without one they are skipped and say so.
browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || $(MAKE) --no-print-directory system-packages

clean:
	rm -rf $(VENV) build dist site *.egg-info
