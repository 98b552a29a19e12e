# Everything a developer and CI call. It needs python3 (3.11 or newer, with venv), make and a network.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PACKAGES := core/memory_core operator/memory_operator sidecar/memory_sidecar client/agent_memory
RELOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --custom-compile-command "make lock" $(or $(ARGS),--upgrade)
STEP := PYTHONPATH=tests $(PYTHON) -m support.toolchain.step
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install toolchain demo test check drift bench fmt generate lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Make .venv from the hashed locks, with our packages installed editable

$(INSTALLED): requirements/dev.txt pyproject.toml client/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"Python 3.11 or newer is needed, $(PYTHON) is {sys.version}: say make PYTHON=...")'
	@$(STEP) "making $(VENV)" $(PYTHON) -m venv $(VENV)
	@$(STEP) "installing the locked packages into $(VENV)" $(BIN)/python -m pip install --require-hashes --requirement requirements/dev.txt
	@$(STEP) "installing this repository into $(VENV)" $(BIN)/python -m pip install --no-deps --no-build-isolation --editable . --editable client
	@touch $@

toolchain: $(INSTALLED) ## Build etcd, kube-apiserver, kubectl and helm into the cache, once for this machine
	@PYTHONPATH=tests $(BIN)/python -m support.toolchain etcd kubectl kube-apiserver helm > /dev/null

demo: $(INSTALLED) ## Show it working: a memory, two agents, a conversation (KEEP=1 leaves it running)
	@PYTHONPATH=tests $(BIN)/python examples/customer-support/demo.py $(if $(KEEP),--keep)

test: $(INSTALLED) toolchain ## Run all tests against real servers (ARGS="tests/unit -k keys" to choose)
	$(BIN)/python -m pytest $(ARGS)

check: $(INSTALLED) ## Check format, lint, types, import layers, dependency sets and generated files, as CI does
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy $(PACKAGES) tests/support
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/contract/test_dependency_sets.py tests/contract/test_tracked_files.py
	@$(MAKE) --no-print-directory drift

drift: $(INSTALLED) ## Check that `make generate` would change nothing
	@PYTHONPATH=tests $(BIN)/python -m support.drift

bench: $(INSTALLED) ## Measure, and print ratios (ARGS="benchmarks/store_append.py" for one)
	@for script in $(or $(ARGS),$(sort $(wildcard benchmarks/*.py))); do echo "== $$script"; $(BIN)/python $$script || exit 1; done

fmt: $(INSTALLED) ## Format the code and fix what the linter can
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

generate: $(INSTALLED) ## Write the generated files again
	@$(BIN)/python -m memory_core.crd > crds/agentmemory.io_memoryresources.yaml
	@$(BIN)/python grafana/generate.py
	@$(BIN)/python charts/generate.py
	@$(BIN)/python docs/generate.py

lock: $(INSTALLED) ## Resolve requirements/*.txt again, to the newest versions (ARGS="--upgrade-package redis" for less)
	@$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/lock.txt
	$(RELOCK) --extra operator pyproject.toml --output-file requirements/operator.txt
	$(RELOCK) --extra sidecar pyproject.toml --output-file requirements/sidecar.txt
	$(RELOCK) --extra operator --extra sidecar --group dev pyproject.toml --output-file requirements/dev.txt
	$(RELOCK) --group go --output-file requirements/go.txt
	$(RELOCK) --group lock --output-file requirements/lock.txt

clean: ## Remove .venv and what tools left in the checkout; the cache of built programs stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
