# `make demo` and `make test` are all a newcomer needs; the other targets are the parts of `make test`.

PYTHON ?= python3.11
BIN := .venv/bin
TEST_DATA ?= ../shared/data
export CONCEPTREEL_TEST_DATA := $(abspath $(TEST_DATA))

# A run starts many processes. Where Python is told not to keep bytecode, each of them would compile torch again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo report test test-long test-slurm lint unit penn_action clean
.DEFAULT_GOAL := demo

# Byte-compiling 2 GB of packages takes longer than running the demo; Python compiles what it imports anyway.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c envs/constraints.txt

.venv/installed: pyproject.toml envs/constraints.txt
	$(PYTHON) -m venv .venv
	$(INSTALL) -e .
	touch $@

.venv/tested: .venv/installed
	$(INSTALL) -e '.[test]'
	touch $@

# Without the names of 288 videos in every job.
demo: .venv/installed
	$(BIN)/snakemake --cores all --quiet rules reason
	@$(BIN)/conceptreel summary results/demo

# Takes some five minutes more on two idle cores (ten CPU minutes): the checks in it run the encoders and train again.
report: .venv/installed
	$(BIN)/snakemake --cores all --quiet rules reason -- results/demo/report.html

test: lint unit

lint: .venv/tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

# Two at a time, and files whole and in order: the tests of a file share what is slow to make.
unit: .venv/tested
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# What would take CI too long: the whole demo against its bars, Penn Action with published labels, kills, an older processor.
test-long: .venv/tested
	$(BIN)/python -m pytest -m long

# Installs and starts a SLURM on 127.0.0.1, so it needs root. CASES chooses some, for example `memory or driver`.
CASES ?= test
test-slurm: .venv/tested
	$(INSTALL) -e '.[slurm]'
	PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/python -m pytest -m slurm -k '$(CASES)' tests/workflow/slurm

# Needs the published artifacts below DATA_ROOT/penn_action.
DATA_ROOT ?= data
penn_action: .venv/installed
	$(BIN)/snakemake --cores all --config data_root=$(DATA_ROOT) -- results/penn_action/model.pt
	@$(BIN)/conceptreel summary results/penn_action

clean:
	rm -rf .venv results/demo
