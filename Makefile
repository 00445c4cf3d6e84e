# One place for every routine. `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PORT ?= 8420

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast test-full lint format faults bench lock clean system

help: ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(STAMP): pyproject.toml requirements/dev.lock tools/bootstrap.sh
	@PYTHON="$(PYTHON)" sh tools/bootstrap.sh "$(VENV)"
	@touch $@

demo: $(STAMP) ## set everything up and run the demo world on http://127.0.0.1:8420
	@$(BIN)/weftline demo --port $(PORT)

system: $(STAMP) ## install what the system tests need (Chromium, mosquitto), as root with apt
	@sh tools/system.sh

test: $(STAMP) system ## set everything up and run the unit, component and system tests
	@$(BIN)/python tools/run_tests.py unit component system

test-fast: $(STAMP) ## the unit and component tests
	@$(BIN)/python tools/run_tests.py unit component

test-full: $(STAMP) system ## everything, with all fault rounds; writes tests/results/full.json
	@$(BIN)/python tools/run_tests.py --full unit component system

faults: $(STAMP) system ## all seeded fault rounds (at least 200)
	@$(BIN)/python tools/run_tests.py --full faults

lint: $(STAMP) ## ruff, mypy --strict, layers, module length
	@$(BIN)/ruff check src tests tools benchmarks
	@$(BIN)/ruff format --check src tests tools benchmarks
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q tests/unit/test_house.py

format: $(STAMP) ## format the code
	@$(BIN)/ruff format src tests tools benchmarks
	@$(BIN)/ruff check --fix src tests tools benchmarks

bench: $(STAMP) ## every benchmark, each beside its floor; results in benchmarks/results/
	@$(BIN)/weftline bench all --out benchmarks/results

lock: $(STAMP) ## renew the dependency locks
	@$(BIN)/uv pip compile -q --universal --generate-hashes --no-header pyproject.toml --group dev -o requirements/dev.lock
	@$(BIN)/uv pip compile -q --universal --generate-hashes --no-header pyproject.toml -o requirements/base.lock

clean: ## remove the environment and all caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
