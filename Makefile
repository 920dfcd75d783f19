# Each target does all the set-up that it needs; a second run sets nothing up again.
.DEFAULT_GOAL := help
.PHONY: help setup compiled demo test gates bench faults fence mutants fuzz schemathesis plaintext sbom audit lock clean
SHELL := /bin/sh
unexport PYTHONDONTWRITEBYTECODE  # else each of the many processes of a hub compiles all of it anew
WORKERS = $(shell expr $$(getconf _NPROCESSORS_ONLN) \* 3 / 2)# of the tests: some of them wait at any time

help:  ## what there is
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|' 2>/dev/null \
	  || sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1: \2/p' $(MAKEFILE_LIST)

setup:  ## .venv with `hub` in it, and the embedded broker's jars
	@setup/setup.sh run

compiled:  ## build/compiled/bin/hub: the hub with its hot path compiled, as in the image; needs a C compiler
	@setup/setup.sh run
	@setup/compile.sh

demo:  ## the hub on a synthetic county, until Ctrl-C; ONCE=1 plays it, prints the summary and ends
	@setup/setup.sh run
	@.venv/bin/python -m examples.county $(if $(ONCE),--once)

test: gates  ## linters, types, layers, every test and what all of them reach; TESTS=tests/test_x.py for some
	@.venv/bin/pytest $(or $(TESTS),-p tests.reached -n $(WORKERS) --dist loadfile --no-loadscope-reorder)

gates:
	@setup/setup.sh test
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports

bench:  ## the benchmarks beside their peers; writes bench-results.json
	@setup/setup.sh bench
	@.venv/bin/python -m benchmarks

faults:  ## every fault test at full length; writes a report
	@setup/setup.sh test
	@.venv/bin/python -m tests.faults

fence:  ## the fence's proof: revocations under faults, watched from outside; SIZES="--revocations 300 ..." for others
	@setup/setup.sh test
	@.venv/bin/python -m tests.faults fence $(SIZES)

mutants:  ## mutation testing of the decision point; fails below 95 % killed
	@setup/setup.sh test
	@.venv/bin/mutmut run
	@.venv/bin/python -m tests.mutation

fuzz:  ## every parser that faces outside, ten minutes each; MINUTES=1 for less, PARSERS="csv xml" for some
	@setup/setup.sh test
	@.venv/bin/python -m tests.fuzz --minutes $(or $(MINUTES),10) $(PARSERS)

schemathesis:  ## everything that the OpenAPI document describes, called in every way; EXAMPLES=50 for less
	@setup/setup.sh test
	@.venv/bin/python -m tests.described $(if $(EXAMPLES),--examples $(EXAMPLES)) $(CALLERS)

plaintext:  ## look for the people of the last `make demo` in everything that the hub wrote
	@setup/setup.sh test
	@.venv/bin/python -m tests.plaintext $${HUB_DATA:-.hub}

sbom:  ## what the hub runs on, as CycloneDX: build/sbom.json
	@setup/supply.sh sbom

audit:  ## look the locked packages up among known vulnerabilities
	@setup/supply.sh audit

lock:  ## write the lock files anew from pyproject.toml and pom.xml
	@setup/setup.sh run
	@setup/lock.sh

clean:  ## remove what set-up and tests made; .hub/, the data, stays
	@rm -rf .venv .jars .jars.new build .mypy_cache .pytest_cache .ruff_cache \
	  .import_linter_cache .hypothesis mutants
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
