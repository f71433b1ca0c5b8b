# Every target makes what it needs. `make help` lists them.

PYTHON ?= python3
VENV := .venv
TEST_VENV := .venv-test
# One version of torch, so that every machine tests the same; TORCH=torch takes the newest.
TORCH ?= torch==2.13.0
# The oldest Python (JetPack 6) and that of JetPack 7; the tests run on those that this machine has.
PYTHONS := 3.10 3.12
# What runs on boards, whose Python those are; the rest of the road is for the training machine. Building from bundles is
# tested on the oldest alone.
BUNDLES3.10 := tests/build/test_bundle.py
RUNTIME := --ignore tests/backends/tensorrt tests/backends tests/cli/test_cli.py tests/cli/test_demo.py tests/cli/test_run.py \
	tests/cli/test_service.py tests/data tests/device tests/evaluate tests/stream tests/web tests/test_api.py \
	tests/test_files.py tests/test_imports.py tests/test_service.py
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help build test test-pythons test-slow test-aarch64 lint format catalogue schema clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: $(VENV)/.installed ## Install, build the gated INT8 engine of the default network, segment a street video
	$(VENV)/bin/edgeseg build --int8 --frames demo://bikes
	$(VENV)/bin/edgeseg run demo://bikes make-build/overlay.mp4 --still make-build/overlay.png --still-at 160
	@echo "Made:"
	@find "$(CURDIR)/engines/build" "$(CURDIR)/make-build" -type f | sort | sed 's/^/  /'

test: lint ## Run ruff, mypy --strict and all quick tests
	@tests/debian.sh
	$(TEST_VENV)/bin/pytest -m "not slow" -n auto --dist loadfile
	@cat .pytest_cache/d/rtx/builds.md 2>/dev/null || true
	$(MAKE) --no-print-directory -j2 --output-sync=target test-pythons

test-pythons: $(PYTHONS:%=test-python%) ## Run the quick tests of core and runtime on the other Pythons found

test-python%:
	@for python in python$* "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/$*.*/bin/python; do \
		"$$python" -c "import ensurepip, venv" 2>/dev/null || continue; \
		$(MAKE) --no-print-directory $(TEST_VENV)$*/.installed PYTHON="$$python" && \
		exec $(TEST_VENV)$*/bin/pytest -m "not slow" $(RUNTIME) $(BUNDLES$*); exit 1; \
	done; echo "Python $* is not on this machine: its tests are skipped."

test-slow: $(TEST_VENV)/.installed $(TEST_VENV)/windows ## Run the tests that take long
	@tests/debian.sh browser
	$(TEST_VENV)/bin/pytest -m slow

test-aarch64: $(VENV)/.installed ## Install and build in an emulated aarch64 Debian, compare with this machine (root)
	PYTHON=$(VENV)/bin/python tests/aarch64/run.sh

lint: $(TEST_VENV)/.installed ## Run ruff and mypy --strict
	$(TEST_VENV)/bin/ruff check
	$(TEST_VENV)/bin/ruff format --check
	MYPYPATH=$(TEST_VENV)/stubs $(TEST_VENV)/bin/mypy

format: $(TEST_VENV)/.installed ## Sort imports and format the code
	$(TEST_VENV)/bin/ruff check --fix
	$(TEST_VENV)/bin/ruff format

catalogue: $(TEST_VENV)/.installed ## Count parameters and multiply-adds of every network into edgeseg/networks.json
	$(TEST_VENV)/bin/python -m edgeseg.models.costs

schema: $(TEST_VENV)/.installed ## Write the JSON Schema of a benchmark's record into schema/
	$(TEST_VENV)/bin/python -m edgeseg.bench.schema

clean: ## Remove virtual environments, caches and make-build/; engines stay
	rm -rf $(VENV) $(TEST_VENV)* benchmarks/peers/.venvs build dist *.egg-info make-build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install -q -e '.[onnxruntime,openvino,vision,demo,report,video,web]'
	@touch $@

$(TEST_VENV)/.installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(TEST_VENV)
	$(TEST_VENV)/bin/pip install -q '$(TORCH)' -e '.[all,dev,train,tensorrt-rtx]'
	$(TEST_VENV)/bin/pip install -q --no-deps --target $(TEST_VENV)/stubs tensorrt-stubs==10.13.0.35.1
	@# In three places they are no Python: a parameter called `in`, and one without a default behind others with.
	sed -i -E 's/\bin: list/in_: list/; s/(power: Weights = None, channel_axis: int)\)/\1 = ...)/' \
		$(TEST_VENV)/stubs/tensorrt_bindings/tensorrt.pyi
	@touch $@

# An OpenCV that opens windows, for the tests of these alone.
$(TEST_VENV)/windows: $(TEST_VENV)/.installed
	$(TEST_VENV)/bin/pip install -q --no-deps --upgrade --target $@ opencv-python python-xlib six
	@touch $@

$(TEST_VENV)3.%/.installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(TEST_VENV)3.$*
	$(TEST_VENV)3.$*/bin/pip install -q -e '.[all,dev]'
	@touch $@
