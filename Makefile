# `make help` lists what there is. Every target sets the machine up first where that is still to do.
#   make demo ARGS="--seed 3"     ARGS goes to the command behind demo, test and bench

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench clean system

PYTHON ?= python3.11
ARGS ?=
BIN := .venv/bin
# Written last, so that a set-up interrupted half-way is never taken for a complete one.
READY := .venv/ready

help: ## this list
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

setup: $(READY) ## create .venv with everything in it; system libraries too, when root on Debian or Ubuntu

demo: $(READY) ## a whole federation on this machine, from videos to a published model (under 5 minutes)
	@exec $(BIN)/mien lab demo $(ARGS)

test: $(READY) ## the whole test suite
	@exec $(BIN)/pytest -n auto --no-loadscope-reorder $(ARGS)

check: $(READY) ## format, lint, types, and which room imports which
	@$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: $(READY) ## the benchmarks, printed and written to bench.json
	@exec $(BIN)/mien lab bench $(ARGS)

clean: ## remove what set-up, demo and checks made
	@rm -rf .venv .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find client common lab server tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml | system
	@if [ -e $@ ]; then
	  echo "set-up: pyproject.toml changed, bringing .venv up to date ..."
	  rm $@
	else
	  echo "set-up: creating .venv with PyTorch, MediaPipe and Flower (about 1 GB; 1 to 10 minutes, once) ..."
	  $(PYTHON) -m venv --clear .venv
	fi
	$(BIN)/python -m pip install -qq --disable-pip-version-check --editable '.[dev]'
	touch $@
	echo "set-up: done in $$SECONDS s"

# Before anything else runs: the right Python, and the libraries that MediaPipe and OpenCV load.
system:
	@if ! $(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2> /dev/null; then
	  echo "error: Mien needs Python 3.11, and \`$(PYTHON)\` is not that here. Install it (on Debian 12:" \
	    "sudo apt-get install -y python3.11 python3.11-venv) or name it: make setup PYTHON=/path/to/python3.11" >&2
	  exit 1
	fi
	missing=$$(PYTHONPATH=client:common $(PYTHON) -m mien_client.system_libraries)
	$(PYTHON) -c 'import ensurepip' 2> /dev/null || missing="$$missing python3.11-venv"
	if [ -z "$$missing" ]; then exit 0; fi
	if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
	  echo "set-up: installing system packages:" $$missing
	  export DEBIAN_FRONTEND=noninteractive
	  apt-get update -qq
	  apt-get install -qq --yes --no-install-recommends $$missing > /dev/null
	else
	  echo "error: system libraries are missing. Install them with: sudo apt-get install -y" $$missing >&2
	  exit 1
	fi
