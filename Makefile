# PyModels: the two commands for a newcomer are `make demo` and `make test`.
# They need Python 3.11 or later and nothing else: the rest goes into .venv.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Each of these can be given on the command line, as in `make test PYTHON=python3.13`.
VENV ?= .venv
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
    "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
    && { echo "$$p"; break; }; done)
# The part of the branches that tests must cover, in percent.
COVERAGE ?= 90
# Test processes: a number, or auto for one a core; 0 runs everything in one process.
WORKERS ?= auto
# Further arguments for pytest, as in `make test ARGS="-k lmdb"`.
ARGS ?=
# What `make test-all` tests on, where installed.
PYTHONS ?= 3.11 3.12 3.13

# Pyright comes from its PyPI package, which carries pyright; the [nodejs] extra carries Node.js.
# So neither is fetched on first use, and the result does not depend on the machine's own Node.js.
# (basedpyright is packed like that too, but its rules are not those that most users run.)
export PYRIGHT_PYTHON_GLOBAL_NODE := 0
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

bin := $(VENV)/bin
python := $(bin)/python
# Programs that tests start by name are those of the environment.
run := PATH="$(abspath $(bin)):$$PATH" $(python)
say = printf '\n==> %s\n'
# pip tells its progress to a person and is brief in CI.
pip := $(python) -m pip --disable-pip-version-check --no-input $(if $(CI),--quiet)
# With arguments that choose tests, none may be left for one of two runs: pytest ends with 5.
or_none := $(if $(ARGS),|| [ $$? -eq 5 ])
typed := $(wildcard pymodels examples benchmarks docs tests/typing)

.PHONY: help
help:  ## list the commands
	@echo 'PyModels. Commands:'
	@sed -n 's/^\([a-z-]*\):.*##  *\(.*\)/  make \1|\2/p' Makefile \
	    | awk -F'|' '{ printf "%-18s %s\n", $$1, $$2 }'

.PHONY: demo
demo: $(VENV)/.demo  ## load the countries and cities of the world, and query them
	@$(say) 'Running the demonstration (examples/geography)'
	@$(run) -m examples.geography

.PHONY: test
test: libraries lint docs  ## lint, types, documentation, tests, doctests and branch coverage
	@$(say) "Tests and doctests on $$($(python) --version)"
	@# Coverage starts pytest, not the other way round: a pytest plugin of our own is imported before
	@# pytest-cov would start to measure.
	@$(run) -m coverage erase
	@$(run) -m coverage run -m pytest --numprocesses=$(WORKERS) -m 'not long' $(ARGS) $(or_none)
	@$(say) 'Branch coverage (at least $(COVERAGE) %)'
	@$(run) -m tests.coverage_files
	@$(run) -m coverage combine --quiet
	@$(run) -m coverage report --fail-under=$(COVERAGE)
	@# Measuring makes a test three times as long, and these run hardly a line of their own.
	@$(say) 'The long tests, which try everything with everything, and kill what writes'
	@$(run) -m pytest --numprocesses=$(WORKERS) -m long $(ARGS) $(or_none)

.PHONY: libraries
libraries:  ## install the C library that the tests of Tokyo Cabinet need
	@found() { ldconfig -p 2>/dev/null | grep -q 'libtokyocabinet\.so'; }; \
	if ! found; then \
	    if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	        $(say) 'Installing libtokyocabinet9 with apt-get'; \
	        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	            apt-get install -y -qq libtokyocabinet9; } || exit 1; \
	    fi; \
	    if ! found; then \
	        echo 'The tests need the C library of Tokyo Cabinet (libtokyocabinet.so.9).' >&2; \
	        echo 'On Debian or Ubuntu, install it with' >&2; \
	        echo '    sudo apt-get install libtokyocabinet9' >&2; \
	        echo 'and run make again. On other systems, build Tokyo Cabinet 1.4.48.' >&2; \
	        exit 1; \
	    fi; \
	fi

.PHONY: test-all
test-all:  ## the same on each supported Python found
	@tested=; missing=; \
	for version in $(PYTHONS); do \
	    found=; \
	    for p in "python$$version" "$$(pyenv prefix "$$version" 2>/dev/null)/bin/python$$version"; do \
	        if "$$p" -c '' >/dev/null 2>&1; then found=$$p; break; fi; \
	    done; \
	    if [ -z "$$found" ]; then missing="$$missing $$version"; continue; fi; \
	    $(MAKE) --no-print-directory test PYTHON="$$found" VENV=".venv-$$version" || exit 1; \
	    tested="$$tested $$version"; \
	done; \
	$(say) "Tested on Python:$${tested:- none}$${missing:+ (not installed:$$missing)}"; \
	[ -n "$$tested" ]

.PHONY: lint
lint: $(VENV)/.dev  ## check style and types
	@$(say) 'Style (ruff check, ruff format)'
	@$(run) -m ruff check .
	@$(run) -m ruff format --check .
	@$(say) 'Types (mypy --strict)'
	@$(run) -m mypy $(typed)

.PHONY: docs
docs: $(VENV)/.dev  ## build the documentation, into build/docs
	@$(say) 'Documentation (Sphinx, warnings are errors)'
	@$(run) -m sphinx --fail-on-warning --keep-going --quiet --jobs auto -b html docs build/docs
	@echo 'build/docs/index.html'

.PHONY: format
format: $(VENV)/.dev  ## format the code, and mend what ruff can mend
	@$(say) 'Formatting'
	@$(run) -m ruff check --fix --exit-zero .
	@$(run) -m ruff format .

.PHONY: bench
bench: $(VENV)/.bench  ## measure the speed beside other mappers, and as ratios to LMDB by hand
	@$(say) 'Benchmarks'
	@$(run) -m benchmarks $(ARGS)

.PHONY: constraints
constraints:  ## choose newer versions for constraints.txt
	@$(say) 'Installing the newest versions, to pin them'
	@rm -rf .venv-constraints
	@$(MAKE) --no-print-directory .venv-constraints/.created VENV=.venv-constraints
	@.venv-constraints/bin/python -m pip --disable-pip-version-check install --quiet --editable '.[dev,bench]'
	@{ grep '^#' constraints.txt; \
	    .venv-constraints/bin/python -m pip freeze --exclude-editable; } > constraints.new
	@mv constraints.new constraints.txt
	@rm -rf .venv-constraints

.PHONY: clean
clean:  ## remove the environments and everything else that was made
	@$(say) 'Cleaning'
	rm -rf .venv .venv-* build dist htmlcov .coverage .coverage.* constraints.new
	rm -rf .hypothesis .mypy_cache .pytest_cache .ruff_cache
	rm -f examples/geography/world.*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment. The stamp files say what was installed, and when.

$(VENV)/.created:
	@if [ -z "$(PYTHON)" ]; then \
	    echo 'No Python 3.11 or later was found. Install one, or name it: make test PYTHON=...' >&2; \
	    exit 1; \
	fi
	@$(say) "Making the environment $(VENV) with $$($(PYTHON) --version)"
	@# Debian and its kin keep the venv module's other half in a package of its own.
	@if ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
	    package=$$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'); \
	    if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	        $(say) "Installing $$package with apt-get"; \
	        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$$package"; \
	    else \
	        echo "Python's venv module is incomplete. On Debian or Ubuntu, install it with" >&2; \
	        echo "    sudo apt-get install $$package" >&2; \
	        echo 'and run make again.' >&2; \
	        exit 1; \
	    fi; \
	fi
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.demo: $(VENV)/.created pyproject.toml constraints.txt
	@$(say) 'Installing PyModels and what the demonstration needs'
	@$(pip) install --constraint constraints.txt --editable '.[lmdb,examples]'
	@touch $@

$(VENV)/.bench: $(VENV)/.dev
	@$(say) 'Installing what the benchmarks compare with'
	@$(pip) install --constraint constraints.txt --editable '.[bench]'
	@touch $@

$(VENV)/.dev: $(VENV)/.created pyproject.toml constraints.txt
	@$(say) 'Installing PyModels and the tools that test it (a minute or two)'
	@$(pip) install --constraint constraints.txt --editable '.[dev]'
	@# If pyright cannot start, say so here rather than in the middle of the tests.
	@$(run) -m pyright --version
	@# The tests run against a real mongod, which needs two libraries of the system.
	@$(run) -m tests.mongodb_server --version >/dev/null 2>&1 \
	|| if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    $(say) 'Installing libcurl4 and libssl3 with apt-get, for mongod'; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq libcurl4 libssl3; \
	fi
	@$(run) -m tests.mongodb_server --version
	@touch $(VENV)/.demo $@
