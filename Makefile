# Needs only Python >= 3.10 with venv, a C compiler and make; everything else goes into .venv/.
#
#   make test PYTHON=python3.13        another interpreter, with a venv of its own
#   make test ARGS="-k queue -x"       more arguments for pytest
#   ALTSEM_WERROR=1 make test          warnings of the C compiler are errors

PYTHON ?= python3
ARGS ?=

# One venv per interpreter: same version number, other build (free-threaded, without SemLock), other
# venv.  The whole path counts, not only the version.
KEY := $(shell $(PYTHON) -c 'import os, sys, zlib; \
    assert sys.version_info >= (3, 10), "altsem needs Python 3.10 or later"; \
    print(f"{sys.implementation.cache_tag}-{zlib.crc32(os.path.realpath(sys.executable).encode()):08x}")')
ifeq ($(KEY),)
$(error PYTHON=$(PYTHON) is no usable Python; say which: make PYTHON=/path/to/python3.12)
endif
VENV := .venv/$(KEY)
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet install
BUILT := $(VENV)/.built$(ALTSEM_WERROR)

C_FILES := $(wildcard csrc/*.h csrc/*/*.[ch])
SOURCES := $(C_FILES) $(wildcard src/altsem/*.py src/altsem/*.pyi src/altsem/*/*.py src/altsem/*/*/*.py) pyproject.toml setup.py

.PHONY: help demo test lint bench conformance clients instructions mutants sanitize fuzz stress verify verify-cbmc verify-genmc clean
.DEFAULT_GOAL := help

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 8

demo: $(BUILT)  ## a program that fails where /dev/shm is gone, and works with altsem
	$(PY) tests/demo/demo.py

test: $(VENV)/.with-test $(VENV)/.with-programs  ## the test suite (ARGS=... for pytest)
	PYTHON=$(PY) tests/beds/alone $(PY) -m pytest $(ARGS)

lint: $(VENV)/.with-dev  ## style, types and layers: ruff, mypy, clang-format, layers.py
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) tests/package/layers.py
	$(VENV)/bin/clang-format --dry-run -Werror $(C_FILES)

conformance: $(BUILT)  ## CPython's own suite, over altsem: docs/conformance.md (PYTHONS=... ARGS=...)
	$(PY) tests/conformance/report.py $(ARGS) $(PYTHONS)

clients: $(BUILT)  ## unmodified programs where /dev/shm is gone: docs/clients.md (ARGS="--only NAME")
	PYTHONPATH=tests $(PY) -m clients $(ARGS)

bench: $(VENV)/.with-bench  ## the figures of docs/benchmarks/ (QUICK=1, ARGS=... for pytest)
	$(PY) -m pytest -c benchmarks/pytest.ini --rootdir=. $(ARGS)

instructions: $(BUILT)  ## counts those of acquire and release; fails if they rose
	$(PY) -m benchmarks.instructions --check

mutants: $(VENV)/.with-test  ## faults planted in the C: which do the tests miss? (ARGS=--all, ARGS=--help)
	PYTHONPATH=tests $(PY) -m mutants $(ARGS)

sanitize: $(VENV)/.with-test  ## the C with the compiler's sanitizers in it (ARGS=--planted, ARGS=--help)
	PYTHON=$(PY) tests/beds/alone env PYTHONPATH=tests $(PY) -m sanitize $(ARGS)

fuzz: $(PY)  ## strangers' segments, slots, names and files (ARGS="--seconds 60", ARGS=--help)
	PYTHON=$(PY) tests/beds/alone env PYTHONPATH=tests $(PY) -m fuzz $(ARGS)

stress: $(VENV)/.with-test  ## everything at once, while workers are killed (ARGS="--seconds 60", ARGS=--help)
	PYTHON=$(PY) tests/beds/alone env PYTHONPATH=tests $(PY) -W ignore::DeprecationWarning -m stress $(ARGS)

verify: $(VENV)/.with-test  ## all that a few threads can do with the C (ARGS=--faults, ARGS=--help)
	PYTHONPATH=tests $(PY) -m verify $(ARGS)

verify-cbmc verify-genmc:
	@echo "skipped: nothing is written for $(@:verify-%=%) yet (docs/verification.md)"

clean:  ## removes what make made
	rm -rf .venv build src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .benchmarks

$(PY):
	$(PYTHON) -m venv $(VENV)
	$(PIP) 'setuptools>=77'

# Installed, not editable: what is tested is what would be shipped.  The build folder is this venv's
# own, so that two interpreters can build at once, and is always made afresh: setuptools would ship
# a module that was deleted since.
$(BUILT): $(SOURCES) | $(PY)
	rm -rf $(VENV)/build $(VENV)/.built*
	mkdir $(VENV)/build
	printf '[build]\nbuild_base = $(VENV)/build\n[egg_info]\negg_base = $(VENV)/build\n' > $(VENV)/build/cfg
	DIST_EXTRA_CONFIG=$(VENV)/build/cfg $(PIP) --no-build-isolation --no-deps --force-reinstall .
	touch $@

# The extras are read from what the rule above installed.
$(VENV)/.with-%: pyproject.toml | $(BUILT)
	$(PIP) 'altsem[$*]'
	touch $@
