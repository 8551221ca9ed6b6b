# Two commands do everything on a fresh machine: `make run` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 4
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help run test test-slow check format lock messages docs eval weights bench chaos clean
.DEFAULT_GOAL := help

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: $(VENV)/.installed ## Install what is needed and start the service
	@$(BIN)/otvet serve

# What one process has compiled, the others need not compile again, whatever the surroundings say.
test test-slow: export PYTHONDONTWRITEBYTECODE :=
test: $(VENV)/.installed-dev ## Install what is needed and run the tests, a few minutes
	@$(BIN)/pytest -n $(WORKERS) --dist worksteal --durations=10 -m "not slow" $(ARGS)

# Each of these starts several servers by itself.
test-slow: WORKERS := 2
test-slow: $(VENV)/.installed-dev ## Run the slow rest of the tests: kills at every point, chaos, several processes
	@$(BIN)/pytest -n $(WORKERS) --dist worksteal --durations=10 -m slow $(ARGS) || { \
	  echo "What failed beside the others is run once more, with the machine to itself:"; \
	  $(BIN)/pytest --last-failed --last-failed-no-failures none -m slow $(ARGS); }

check: $(VENV)/.installed-dev ## Format, lint, types, layers and generated files: what CI asks besides the tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tools.generate --check
	$(BIN)/python -m tools.assets --check

format: $(VENV)/.installed-dev ## Put the code into its form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/.installed-dev ## Write the generated documents and the compiled catalogues anew
	$(BIN)/python -m tools.generate

messages: $(VENV)/.installed-dev ## Collect new texts into the Russian catalogue
	$(BIN)/pybabel -q extract -F babel.cfg -k N_ --no-location --sort-output --project otvet -o $(VENV)/otvet.pot src tools
	$(BIN)/pybabel -q update -i $(VENV)/otvet.pot -d src/otvet/locale -D otvet -l ru --no-fuzzy-matching --ignore-obsolete --ignore-pot-creation-date
	$(BIN)/python -m tools.generate

lock: $(VENV)/.installed-dev ## Choose the newest allowed versions of all dependencies
	$(BIN)/pip -q install uv
	$(BIN)/uv -q pip compile --universal --generate-hashes --no-header --no-emit-index-url --no-emit-find-links --upgrade pyproject.toml -o requirements.lock
	$(BIN)/uv -q pip compile --universal --generate-hashes --no-header --no-emit-index-url --no-emit-find-links --upgrade pyproject.toml --group dev -c requirements.lock -o requirements-dev.lock
	$(BIN)/uv -q pip compile --universal --generate-hashes --no-header --no-emit-index-url --no-emit-find-links --upgrade --group bench -o requirements-bench.lock

eval: $(VENV)/.installed-dev ## Measure how well it answers, and write docs/answer-quality.md
	$(BIN)/python -m evals.run

weights: $(VENV)/.installed-dev ## Fit the weights that tell what messages mean to the sentences of evals/
	$(BIN)/python -m evals.fit

bench: $(VENV)/.installed-bench $(VENV)/.installed-dev ## Measure the intake (needs wrk), the answering, the search and the pages; half an hour
	$(BIN)/python -m benchmarks.ingest
	$(BIN)/python -m benchmarks.answer
	$(BIN)/python -m benchmarks.local
	$(BIN)/python -m benchmarks.pages

chaos: $(VENV)/.installed-dev ## The long chaos run on both databases and all kill points, the better part of an hour
	$(BIN)/python -m tests.chaos --database sqlite --messages 5000 --conversations 500 --processes 1
	$(BIN)/python -m tests.chaos --database postgresql --messages 5000 --conversations 500 --processes 3
	$(BIN)/pytest tests/test_kill_matrix*.py --whole-matrix

clean: ## Remove the environment and all caches; conversations.db stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# `python3 -m venv` is there but cannot bring pip on a Debian without python3-venv: say what to do.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Otvet needs Python 3.11 or newer; this is $$($(PYTHON) --version). Try: make run PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get -qq update && apt-get -qq install -y python3-venv; } || \
	  { echo "Python cannot make environments here. Run: sudo apt-get install python3-venv"; exit 1; }
	@echo "Making the environment in $(VENV)..."
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.lock pyproject.toml | $(VENV)/bin/python
	@echo "Installing the dependencies (once, about a minute)..."
	@$(BIN)/pip -q install --require-hashes -r requirements.lock
	@$(BIN)/pip -q install --no-deps -e .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed
	@echo "Installing the tools for the tests..."
	@$(BIN)/pip -q install --require-hashes -r requirements-dev.lock
	@command -v chromium >/dev/null || \
	  { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get -qq update && apt-get -qq install -y chromium >/dev/null; } || \
	  { echo "The tests of the pages need Chromium. Run: sudo apt-get install chromium"; exit 1; }
	@touch $@

$(VENV)/.installed-bench: requirements-bench.lock $(VENV)/.installed
	@$(BIN)/pip -q install --require-hashes -r requirements-bench.lock
	@touch $@
