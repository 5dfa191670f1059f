# Everything works from a bare clone with Python 3.11 or newer, git and make: the targets make .venv when it
# is missing. Another interpreter: `make test PYTHON=python3.13`.

PYTHON ?= $(shell python3.11 -c '' 2>/dev/null && echo python3.11 || echo python3)
VENV ?= .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?=
CYCLES ?= 2000
SECONDS ?= 60
SEED ?= 0
IMAGES ?= 10000
TASKS ?= 1000000
RESTARTS ?= 100000
ASKS ?= 1000000
RUNS ?= 20000

# Stamps, so that nothing is installed twice. `DEV_READY=` (empty) uses VENV just as it is.
DEMO_READY ?= $(VENV)/.demo-ready
DEV_READY ?= $(VENV)/.dev-ready

.PHONY: demo test long crash fire backlog power-cut injection saga simulate mutants restarts ask-races bench bench-smoke check lint types layers doctests format clean

demo: $(DEMO_READY)
	$(BIN)/everact demo

test: $(DEV_READY)
	$(BIN)/pytest $(PYTEST_ARGS)

# The suite with the large figures: more tasks, actors and random histories in the tests that repeat one thing.
long: $(DEV_READY)
	EVERACT_LONG_TESTS=1 $(BIN)/pytest $(PYTEST_ARGS)

# Kills a process under load CYCLES times and says what was lost. Interrupted, it goes on where it was; with more
# CYCLES than it has done, too. Another SEED, another run.
crash: $(DEV_READY)
	$(BIN)/python tests/crash/programs/campaign.py build/crash/seed-$(SEED) --cycles $(CYCLES) --seed $(SEED)

# SECONDS under load with a kill in each; says what was done per second, and what was lost.
fire: $(DEV_READY)
	rm -rf build/crash/fire
	$(BIN)/python tests/crash/programs/fire.py build/crash/fire --seconds $(SECONDS) --seed $(SEED)

# What the suite does with some hundred images, with as many as the claim asks for.
power-cut: $(DEV_READY)
	PYTHONPATH=$(abspath tests/crash/programs) $(BIN)/python -m power --images $(IMAGES)

# What the suite does at some writes and syncs, at every one. Needs strace.
injection: $(DEV_READY)
	PYTHONPATH=$(abspath tests/crash/programs) $(BIN)/python -m injection

# Orders whose steps and undos fail, each killed before and after each of its commits, and compared with a model.
saga: $(DEV_READY)
	PYTHONPATH=$(abspath tests/crash/programs) $(BIN)/python -m orders --seed $(SEED)

# RUNS random worlds in simulation, held to all promises. Another SEED, other worlds.
simulate: $(DEV_READY)
	$(BIN)/python -m tests.testing.programs.simulate --runs $(RUNS) --seed $(SEED)

# Looks for each bug that can be planted into the engine, and writes the table of the docs. Some ten minutes.
mutants: $(DEV_READY)
	$(BIN)/python -m tests.testing.programs.hunt --write docs/simulation-mutants.md

# All figures, beside those of the peers, which get an environment of their own: about half an hour.
bench: $(DEV_READY)
	$(BIN)/python -m benchmarks --peers --json build/benchmarks/figures.json

# Each case small and without peers: it runs, no timing is asserted.
bench-smoke: $(DEV_READY)
	$(BIN)/python -m benchmarks --smoke

# A million tasks queued and a million scheduled, a kill, and 200,000 of them worked off.
backlog: $(DEV_READY)
	$(BIN)/python tests/crash/programs/backlog.py report --tasks $(TASKS)

# One actor restarted RESTARTS times: what is left behind, and how fast it goes.
restarts: $(DEV_READY)
	$(BIN)/python tests/supervision/programs/restarts.py --restarts $(RESTARTS)

# Both of pykka's races, ASKS times, on everact's actors and on stock pykka's.
ask-races: $(DEV_READY)
	$(BIN)/python tests/actors/programs/ask_races.py --asks $(ASKS)

check: lint types layers doctests

lint: $(DEV_READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(DEV_READY)
	$(BIN)/python tools/link_tree.py
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

# From the root import-linter would see the front door only.
layers: $(DEV_READY)
	$(BIN)/python tools/link_tree.py
	cd build/links && "$(abspath $(BIN))/lint-imports" --config ../../pyproject.toml --no-cache --no-logo

doctests: $(DEV_READY)
	$(BIN)/python tools/link_tree.py
	PYTHONPATH=build/links $(BIN)/pytest --doctest-modules build/links/everact

format: $(DEV_READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "everact needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo-ready: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --editable '.[cli]'
	touch $@

$(VENV)/.dev-ready: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --editable '.[dev,cli]'
	touch $(VENV)/.demo-ready $@
