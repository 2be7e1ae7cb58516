# Everything a person runs here. Needs make and Python 3.11 or newer with venv; the first target that runs installs the rest
# into .venv. Paths are relative and quoted, so a checkout below a folder with spaces works.

VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.installed
IS_NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for name in python3 python3.12 python3.13 python3.11 python3.14 python; do \
	"$$name" -c '$(IS_NEW_ENOUGH)' 2>/dev/null && echo "$$name" && break; done)
# More for pip, e.g. PIP_ARGS="--find-links wheels"; more for the demo, e.g. ARGS="adapt=full".
PIP_ARGS ?=
ARGS ?=
# Tests run in as many processes as there are cores, at most 8 (tests/conftest.py); ARGS="-n 0" is one, as `pytest` is alone.
PARALLEL := -n auto --dist worksteal

.PHONY: help setup demo real test test-all test-gpu test-faults test-wheel test-extending test-cases test-interop check format clean
.DEFAULT_GOAL := help

help:
	@echo "make setup     create .venv and install everything, pinned by constraints.txt"
	@echo "make demo      speech, model, fine-tuning, evaluation, report on two CPU cores (ARGS=... is passed on)"
	@echo "make real      genuine whisper-base learns the speech of real people, before and after, report (../shared/speech)"
	@echo "make test      the tests, on all cores; slow ones and those without their data or GPU skip with a reason (ARGS=tests/x.py)"
	@echo "make test-all  the slow tests too"
	@echo "make test-gpu  the tests of what a GPU alone does; \`make test\` sees no GPU, so that it is the same everywhere"
	@echo "make test-faults  a training killed ten times at random, against one that was left alone; damaged files for minutes"
	@echo "make test-wheel  the wheel, built, installed in an empty environment and run in an empty folder"
	@echo "make test-extending  docs/extending.md done to the letter in a copy of the package"
	@echo "make test-cases  the inputs of ../shared/cases on which users met a fault, some minutes; skips where that folder is missing"
	@echo "make test-interop  what transformers, PEFT, vLLM, qwen-asr, GGUF and faster-whisper read in our exports, text by text; installs them in .interop"
	@echo "make check     ruff (rules and format), mypy, shellcheck, hadolint"
	@echo "make format    let ruff format and sort imports"

setup: $(STAMP)

$(STAMP): pyproject.toml setup.py constraints.txt
	@if [ -z "$(PYTHON)" ] || ! "$(PYTHON)" -c '$(IS_NEW_ENOUGH)' 2>/dev/null; then \
		echo "error: no Python 3.11 or newer found$(if $(PYTHON), ($(PYTHON) is not one)); install one, or name it: make setup PYTHON=/path/to/python" >&2; exit 2; fi
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "error: $(PYTHON) has no venv module; install it (on Debian and Ubuntu the package python3-venv)" >&2; exit 2; }
	@echo "installing into $(VENV) with $$("$(PYTHON)" --version); the first time takes some minutes"
	@"$(PYTHON)" -m venv $(VENV)
	@$(RUN) -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e ".[demo,dev]"
	@touch $(STAMP)

demo: $(STAMP)
	@$(RUN) scripts/demo/run_demo.py $(ARGS)

real: $(STAMP)
	@$(RUN) scripts/real/run_real.py $(ARGS)

test: $(STAMP)
	@$(RUN) -m pytest $(PARALLEL) $(ARGS)

test-all: $(STAMP)
	@$(RUN) -m pytest $(PARALLEL) --run-slow $(ARGS)

test-gpu: $(STAMP)
	@$(RUN) -m pytest --run-gpu -m gpu $(ARGS)

test-faults: $(STAMP)
	@$(RUN) -m pytest --run-slow -m faults -s $(ARGS)

test-wheel: $(STAMP)
	@$(RUN) -m pytest --run-slow tests/cli/test_wheel.py $(ARGS)

test-extending: $(STAMP)
	@$(RUN) -m pytest --run-slow tests/test_extending.py $(ARGS)

test-cases: $(STAMP)
	@$(RUN) -m pytest --run-slow -m cases $(ARGS)

test-interop: $(STAMP)
	@$(RUN) -m pytest -m interop tests/interop $(ARGS)

check: $(STAMP)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(VENV)/bin/shellcheck scripts/launch/*.sh scripts/bench/*.sh .ci/run
	@if [ -x $(VENV)/bin/hadolint ]; then echo hadolint scripts/docker/Dockerfile; $(VENV)/bin/hadolint scripts/docker/Dockerfile; fi

format: $(STAMP)
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

clean:
	rm -rf $(VENV) .interop .mypy_cache .ruff_cache .pytest_cache *.egg-info build dist
