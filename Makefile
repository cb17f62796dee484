# Everything starts here: `make run`, `make test`; `make help` lists the rest.
# PRESET=smoke|default|full sizes the work, NOTEBOOK=02 picks one notebook, PYTHON=python3.12 the
# interpreter, PYTEST_ARGS="-k store" what pytest is told.

PYTHON ?= python3
PRESET ?= default
NOTEBOOK ?=
PYTEST_ARGS ?=
BIN := .venv/bin
STAMP := .venv/.installed
NOTEBOOKS = $(sort $(wildcard notebooks/[0-9]*.ipynb))

export KIT_PRESET := $(PRESET)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help run results reproduce selftest chaos fetch test lint lab bench clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(STAMP) ## install, fetch, run the main job (notebooks 01 and 02, or NOTEBOOK=03), print the verdict
	@for name in $(if $(NOTEBOOK),$(NOTEBOOK),01_quickstart 02_sentiment); do \
	  $(BIN)/kit run $$name || exit 1; \
	done

results: $(STAMP) ## run every notebook (or NOTEBOOK=03) and write results/
	@for name in $(if $(NOTEBOOK),$(NOTEBOOK),$(basename $(notdir $(NOTEBOOKS)))); do \
	  $(BIN)/kit run $$name || exit 1; \
	done

reproduce: $(STAMP) ## run every notebook (or NOTEBOOK=03) anew, from nothing, and compare with results/
	@$(BIN)/kit reproduce $(NOTEBOOK)

selftest: $(STAMP) ## what timings on this machine can tell apart (notebook 90)
	@$(BIN)/kit run 90

chaos: $(STAMP) ## kill kit at random moments and count what is lost
	@$(BIN)/python -m benchmarks.chaos

fetch: $(STAMP) ## fetch all models and data that need no extra consent, for work without a network
	@$(BIN)/kit fetch --all

test: $(STAMP) ## run the tests: what times by itself, all others side by side
	@export KIT_PRESET=; \
	{ $(BIN)/python -m pytest -m "notebook or alone" $(PYTEST_ARGS) || [ $$? -eq 5 ]; } && \
	$(BIN)/python -m pytest -m "not notebook and not alone" -n logical --dist loadfile $(PYTEST_ARGS)

lint: $(STAMP) ## ruff, mypy, imports, notebooks without outputs, known vulnerabilities, old results
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(if $(NOTEBOOKS),$(BIN)/nbstripout --verify $(NOTEBOOKS))
	$(BIN)/python .ci/audit.py
	$(BIN)/kit stale

lab: $(STAMP) ## open JupyterLab in notebooks/
	@cd notebooks && ../$(BIN)/jupyter lab

bench: $(STAMP) ## measure kit itself against its promises (speed of import, engine, timing noise)
	@$(BIN)/python -m benchmarks

clean: ## remove the environment and caches; runs/ and results/ stay
	rm -rf .venv build kit.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find kit tests benchmarks notebooks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# torch comes first and by itself: the lock leaves it out, so that a build that suits the machine
# (CPU, CUDA) may be put there by hand before and is then kept.
$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "kit needs Python 3.11 or newer, and '$(PYTHON)' is not: install one, or say make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { rm -rf .venv; \
	  echo "Python's venv module is missing: on Debian and Ubuntu, install the package python3-venv" >&2; exit 1; }
	@echo "installing torch (1 of 3)"
	@$(BIN)/python -m pip install --quiet torch==2.13.0
	@echo "installing the pinned packages (2 of 3)"
	@$(BIN)/python -m pip install --quiet -r requirements.lock
	@echo "installing kit (3 of 3)"
	@$(BIN)/python -m pip install --quiet --no-deps -e .
	@touch $(STAMP)
