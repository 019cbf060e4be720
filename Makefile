# `make demo` and `make test` are all a newcomer needs; the other targets are the parts of `make test`.

SUPPORTED := 3.11 3.12 3.13
PYTHON ?= $(firstword $(foreach version,$(SUPPORTED),$(shell command -v python$(version))))
BIN := .venv/bin
TEST_DATA ?= ../shared/data
export CONCEPTREEL_TEST_DATA := $(abspath $(TEST_DATA))

# A run starts many processes. Where Python is told not to keep bytecode, each of them would compile torch again.
unexport PYTHONDONTWRITEBYTECODE

# An environment of another Python is told before anything runs in it; `make clean` needs none.
ifneq ($(MAKECMDGOALS),clean)
version_of = $(shell $(1) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
FOUND := $(if $(wildcard .venv),$(or $(call version_of,$(BIN)/python),a Python that does not run))
ifeq ($(origin PYTHON),file)
WANTED := $(SUPPORTED)
else
WANTED := $(call version_of,$(PYTHON))
endif
ifeq ($(PYTHON)$(FOUND),)
$(error no Python is found; install one of $(SUPPORTED), or name it: make PYTHON=/path/to/python)
endif
ifneq ($(FOUND),)
ifeq ($(filter $(FOUND),$(WANTED)),)
$(error .venv is of $(FOUND), wanted is Python $(WANTED): `rm -r .venv` and it is made anew)
endif
endif
endif

.PHONY: demo report docs screenshots test test-long test-slurm lint unit penn_action clean
.DEFAULT_GOAL := demo

# Byte-compiling 2 GB of packages takes longer than running the demo; Python compiles what it imports anyway.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c envs/constraints.txt

.venv/installed: pyproject.toml envs/constraints.txt
	$(PYTHON) -m venv .venv
	@echo "installing about 2 GB of packages into .venv; pip prints nothing for some minutes"
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

# All pages as a site, build/site/index.html; a link that leads nowhere fails.
docs: .venv/tested
	$(BIN)/python -m tools.site

# Every view of the explorer, wide and as on a phone, light and dark. Needs Chromium and the demo's run.
screenshots: .venv/tested
	$(BIN)/python bench/screenshots.py results/demo --out screenshots

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
