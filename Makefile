# Every target makes .venv first; a machine with Python >= 3.11, git and make is enough.
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help demo test check lint vectors tcb page measure bench fuzz soak lock clean ready

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ready page ## store a key as one user, collect it as another, see what the host sees, share a document in the browser
	@$(BIN)/strongroom demo

# A test run starts hundreds of processes: where they may not keep what they compiled, each compiles all that it imports.
test: export PYTHONDONTWRITEBYTECODE :=
test: lint page ## everything: lint, vectors, all tests; says what it could not run
	@$(BIN)/python -m tools.node tests/idp web
	@$(BIN)/python -m tools.chromium
	@$(BIN)/python -m tools.directories
	@$(BIN)/python -m tools.postgres
	@$(BIN)/python -m tools.openssh
	@$(BIN)/python spec/vectors/generate.py --check
	@$(BIN)/pytest -n 2 --durations 15

check: lint ## the daily loop: lint, types, import contracts, unit tests
	@$(BIN)/pytest tests/unit

lint: ready ## style, types, import contracts and what each enclave is made of
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet || { echo "hint: .venv/bin/ruff format"; exit 1; }
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo > .lint-imports.log || { cat .lint-imports.log; exit 1; }
	@$(BIN)/python -m tools.tcb --check

vectors: ready ## write spec/vectors anew
	@$(BIN)/python spec/vectors/generate.py

tcb: ready ## write anew what each enclave is made of (images/tcb)
	@$(BIN)/python -m tools.tcb

page: ready ## build the web page (src/strongroom/page_dist)
	@$(BIN)/python -m tools.page

measure: ready ## build the images and say their measurements, as far as this machine can; status 3: not all of them
	@$(BIN)/python -m tools.measure

bench: ready ## measure; needs a quiet machine
	@$(BIN)/python -m bench

fuzz: ready ## bend evidence by coverage, FUZZ_SECONDS (20) for each parser; Linux on x86-64
	@$(BIN)/python -m tests.fuzz

soak: ready ## kill -9 under load, KILLS (500) times, DATABASE sqlite or postgresql
	@$(BIN)/python -m tests.soak --kills $(or $(KILLS),500) --database $(or $(DATABASE),sqlite)

lock: ready ## newest versions of everything into uv.lock
	@$(BIN)/python -m tools.lock
	@$(PYTHON) -m tools.bootstrap

clean: ## remove what was built
	rm -rf .venv .venv.lock .lint-imports.log .*_cache .hypothesis .import_linter_cache dist src/strongroom/page_dist tests/idp/node_modules web/node_modules web/*/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

ready:
	@$(PYTHON) -m tools.bootstrap
