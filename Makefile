# Every command of this project; CI and the README call these and nothing else.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

#: What `make demo` asks for.
PROMPT ?= a large yellow star on a blue background

#: Release to write into CHANGELOG.md; empty shows its section.
VERSION ?=

#: More options for pytest: `make test PYTEST="-n 0"` is one process, `make test PYTEST="tests/media -k mask"` a few tests.
PYTEST ?=

# Tests start hundreds of processes, each of which would compile Octabox again if no bytecode were kept.
unexport PYTHONDONTWRITEBYTECODE

# Files of tests are spread over processes; tests/spreading.py says how many.
RUN_TESTS := $(BIN)/python -m pytest -q -n auto --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help demo tiny serve test test-slow test-network fuzz test-all lint style types page fix check bench gpu-check docs changelog release-check proto model clean

help:  ## List these commands.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(BIN)/.installed  ## Generate an image with the embedded model.
	@echo "2/3 The first start imports torch and diffusers, which takes up to a minute."
	@echo "3/3 The image takes some seconds after that."
	@$(BIN)/octabox run demo "$(PROMPT)" --seed 1 -o demo.png --local
	@echo
	@echo "Look at demo.png: $(PROMPT)."
	@echo "Next, try another prompt:"
	@echo "  make demo PROMPT=\"a small red heart on a white background\""
	@echo "  $(BIN)/octabox show demo       # its parameters"
	@echo "  $(BIN)/octabox serve           # the same over HTTP, for OpenAI's clients"

tiny: $(BIN)/.installed  ## Write tiny models with random weights into models/.
	@$(BIN)/python tools/make_tiny_models.py models

serve: $(BIN)/.installed  ## Start the server on http://127.0.0.1:8080.
	@$(BIN)/octabox serve

test: $(BIN)/.installed-dev  ## Run the tests, except slow ones.
	$(RUN_TESTS) $(PYTEST)

test-slow: $(BIN)/.installed-dev chromium  ## Run the slow tests: all tiny pipelines over HTTP and on the accelerator, long examples.
	$(RUN_TESTS) -m "slow and not gpu and not network" $(PYTEST)

# In one process: a CUDA build of torch takes 5 GB of the disk for the time of its tests.
test-network: $(BIN)/.installed-dev  ## Run the tests that download packages: other versions of diffusers, a CUDA build of torch.
	$(BIN)/python -m pytest -q -n 0 -m network $(PYTEST)

fuzz: $(BIN)/.installed-dev  ## Send requests and read files of random content for FUZZ_SECONDS (600), and check that nothing breaks.
	FUZZ_SECONDS=$(or $(FUZZ_SECONDS),600) $(RUN_TESTS) -m slow tests/fuzz

test-all: $(BIN)/.installed-dev chromium  ## Run all tests, including every tiny pipeline.
	$(RUN_TESTS) -m "not gpu and not network" $(PYTEST)

lint: style types page  ## Check format, style, types, import rules, test docstrings and spelling.

style: $(BIN)/.installed-dev  ## Check all of that but the types: a few seconds.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/interrogate -q tests
	$(BIN)/codespell

# The oldest and the newest version that pyproject.toml names, side by side; each has a cache, so that a second run takes seconds.
types: $(BIN)/.installed-dev  ## Check types for Python 3.10 and 3.13.
	@$(MAKE) --no-print-directory --jobs=2 --output-sync types-oldest types-newest

.PHONY: types-oldest types-newest
types-oldest:
	$(BIN)/mypy
types-newest:
	$(BIN)/mypy --python-version 3.13

page:  ## Check the types of the web page's scripts, where npm is installed.
	@if command -v npm > /dev/null; then npm --prefix tools/page ci --silent --no-audit --no-fund && tools/page/node_modules/.bin/tsc -p tools/page; \
	else echo "npm is not installed, so the scripts of the web page are not checked."; fi

# The tests of the web page need a browser, and say so where there is none.
.PHONY: chromium
chromium:
	@command -v chromium > /dev/null || { test "$$(id -u)" = 0 && command -v apt-get > /dev/null && \
	apt-get update -q && apt-get install -y -q --no-install-recommends chromium fonts-dejavu-core; } > /dev/null 2>&1 || \
	echo "Chromium is not installed, so the web page is not tested."

fix: $(BIN)/.installed-dev  ## Fix format and style.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check: lint test  ## Lint and test.

bench: $(BIN)/.installed-dev  ## Run the benchmarks.
	$(BIN)/python benchmarks/adapters.py
	$(BIN)/python benchmarks/catalog.py
	$(BIN)/python benchmarks/kills.py --jobs 20 --kills 4
	$(BIN)/python benchmarks/loading.py
	$(BIN)/python benchmarks/load.py --rounds 2 --images 16
	$(BIN)/python benchmarks/swaps.py
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/a1111.py
	$(BIN)/python benchmarks/profiles.py
	$(BIN)/python benchmarks/server.py
	$(BIN)/python benchmarks/localai.py

gpu-check: $(BIN)/.installed  ## Check Octabox on this machine's accelerator, in at most ten minutes; results in gpu_check.md.
	$(BIN)/python tools/gpu_check.py

docs: $(BIN)/.installed-dev  ## Generate the reference pages, and build the documentation into build/site.
	PYTHONPATH=tests $(BIN)/python tools/document_pipelines.py
	$(BIN)/python tools/document_schedulers.py
	$(BIN)/python tools/document_tables.py
	$(BIN)/python tools/document_packages.py
	$(BIN)/mkdocs build --quiet --strict

changelog: $(BIN)/.installed-dev  ## Show unreleased changes; with VERSION=1.2.0, move them into CHANGELOG.md.
	$(BIN)/towncrier build $(if $(VERSION),--yes --version $(VERSION),--draft --version Unreleased)

release-check: $(BIN)/.installed-dev  ## Build the wheel and the sdist, install them in a new environment, and check them.
	$(BIN)/python tools/release_check.py $(if $(VERSION),--tag $(VERSION)) --keep build/dist

proto: $(BIN)/.installed-dev  ## Compile LocalAI's contract.
	$(BIN)/python tools/compile_proto.py

model: $(BIN)/.installed-dev  ## Train the embedded model (two hours) and measure it.
	$(BIN)/python tools/train_demo_model.py
	$(BIN)/python tools/evaluate_demo_model.py

clean:  ## Remove all files that these commands create.
	rm -rf .venv build demo.png .*_cache

# pip installs torch from its configured index, so a machine with a mirror of CPU builds gets one of those. A torch that is installed
# in .venv stays if Octabox can use it: the accelerator may need another build or version. The tests need the tested one.
$(BIN)/python:
	$(PYTHON) -m venv .venv

$(BIN)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "1/3 Installing Octabox and its dependencies into .venv. Torch has some hundred megabytes, so that the first time takes minutes."
	@$(BIN)/python tools/tested_versions.py > .venv/constraints.txt
	$(PIP) install --constraint .venv/constraints.txt --editable .
	@touch $@

# Spandrel is installed without its dependencies: torchvision is not available for every build of torch, and one that does not fit
# prevents the import of transformers. They are not needed (see src/octabox/engine/worker/upscaling/torchvision_stub.py).
$(BIN)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing Octabox and the tools of its development into .venv, which takes minutes the first time."
	$(PIP) install --quiet --constraint constraints.txt --editable ".[dev]"
	$(PIP) install --quiet --constraint constraints.txt --no-deps spandrel
	@touch $(BIN)/.installed $@
