# `make help` lists what there is. Every target brings the environment up to date first.

PYTHON ?= python3
DEMO_ARGS ?=
TEST_ARGS ?=
COVERAGE ?= term

BIN := .venv/bin
# Finds ROS 2 and this package's messages where they are there; see tools/with_ros.py.
WITH_ROS := $(BIN)/python tools/with_ros.py --if-available
CLEAN := build install log .ros_underlay demo_out htmlcov .coverage .pytest_cache .mypy_cache .ruff_cache \
         .import_linter_cache .hypothesis internimage_perception.egg-info

.DEFAULT_GOAL := help
.PHONY: help setup environment python demo demo-real test lint bench clean distclean

help: ## list the targets
	@echo "internimage_perception: fisheye camera frames in, class masks out"
	@echo
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 20
	@echo
	@echo "  PYTHON=python3.12         interpreter that .venv is made with (3.10 or newer; now: $(PYTHON))"
	@echo "  DEMO_ARGS=\"--small\"       passed to the demo"
	@echo "  TEST_ARGS=\"test/nodes\"    passed to pytest"
	@echo "  COVERAGE=html             report of the coverage, as pytest-cov's --cov-report; none where empty (now: $(COVERAGE))"

python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "Python 3.10 or newer is needed, and '$(PYTHON)' is not: try 'make setup PYTHON=python3.11'" >&2; exit 1; }

setup: python ## create .venv, get ROS 2 from the package index, build the messages (log: build/setup.log)
	@$(PYTHON) tools/setup_project.py

environment: python
	@$(PYTHON) tools/setup_project.py --quiet

demo: environment ## drive along a generated street, segment it, compare with the truth, into demo_out/
	@$(BIN)/internimage-perception demo --out demo_out $(DEMO_ARGS)

demo-real: environment ## replay the recordings and image sets of ../shared/data, into demo_out/real/
	@$(BIN)/internimage-perception demo-real --out demo_out/real $(DEMO_ARGS)

# A ROS domain per run keeps runs side by side apart.
test: environment ## run all tests, with a summary of the coverage
	@ROS_DOMAIN_ID=$${ROS_DOMAIN_ID:-$$(($$$$ % 100 + 1))} \
	  $(WITH_ROS) $(BIN)/pytest --cov --cov-report=$(COVERAGE) $(TEST_ARGS)

lint: environment ## ruff, mypy, import contracts, size of files, paths of this machine
	@status=0; \
	$(BIN)/ruff check . || status=1; \
	$(BIN)/ruff format --check . || status=1; \
	$(BIN)/mypy || status=1; \
	MYPYPATH=tools $(BIN)/mypy tools || status=1; \
	$(BIN)/lint-imports || status=1; \
	$(BIN)/python tools/check_tree.py || status=1; \
	exit $$status

bench: environment ## measure latency and throughput, into bench/results/
	@$(WITH_ROS) $(BIN)/python bench/run.py

clean: ## remove what was built, measured and shown; .venv stays
	@rm -rf $(CLEAN)
	@find . -path ./.venv -prune -o -name __pycache__ -type d -exec rm -rf {} +

distclean: clean ## remove .venv too
	@rm -rf .venv
