# One virtual environment, .venv, made and filled as needed: a second run reuses it.
#
#   make look-again         train the small model to look again; results in runs/look_again
#   make look-again-base    pre-train the base model it starts from
#   make test               lint and tests, with coverage of r3jax
#   make test-hosts         runs of several hosts, as processes of this one
#   make test-harness       lmms-eval against a served model
#   make test-pillow        the tests of pixels, under every major version of Pillow
#   make bench              r3jax beside its peers; writes docs/performance.md
#   make plan               the TPU configs compiled for their slices; writes docs/tpu.md
#
# PYTHON chooses the interpreter; with another version .venv is made anew.
# OPTIONS are more options of pytest's: make test OPTIONS='-m "not slow"'.
PYTHON ?= python3.11

VENV := .venv
BIN := $(VENV)/bin
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
ifeq ($(VERSION),)
$(error $(PYTHON) does not run: name a Python from 3.11 on, as in make PYTHON=/usr/bin/python3.12)
endif
# Stamps lie in .venv and carry the version: they go with it when it is made anew.
MADE := $(VENV)/made-$(VERSION).stamp
RUN := $(VENV)/run-$(VERSION).stamp
TEST := $(VENV)/test-$(VERSION).stamp
TPU := $(VENV)/tpu-$(VERSION).stamp
HOSTS := tests/run/test_hosts.py
# It asks for more than it needs, and for another version of what is there: it lies beside the rest.
LMMS := $(VENV)/lmms-eval
LMMS_NEEDS := accelerate datasets evaluate Levenshtein loguru math-verify pytablewriter python-dotenv \
	pytz sacrebleu tenacity
HARNESS := tests/run/test_lmms_eval.py

.PHONY: look-again look-again-base test test-hosts test-harness test-pillow lint bench plan

look-again: $(RUN)
	$(BIN)/python launch/train.py --config=configs/look_again.py --workdir=runs/look_again

look-again-base: $(RUN)
	$(BIN)/python launch/train.py --config=configs/look_again_base.py --workdir=runs/look_again_base

test: lint $(TPU)
	PYTHONPATH=$(VENV)/tpu-$(VERSION) $(BIN)/python -m pytest $(OPTIONS) -n 2 --dist loadfile --no-loadscope-reorder \
		--cov=r3jax --cov-report=term --cov-fail-under=90 --ignore=$(HOSTS) --ignore=$(HARNESS)

# Mostly they wait for each other.
test-hosts: $(TEST)
	$(BIN)/python -m pytest $(HOSTS)

test-harness: $(TEST)
	$(BIN)/python -m venv $(LMMS)
	$(BIN)/python -c 'import site; print(*site.getsitepackages())' \
		> $$($(LMMS)/bin/python -c 'import site; print(*site.getsitepackages())')/beside.pth
	$(LMMS)/bin/pip install --quiet $(LMMS_NEEDS)
	$(LMMS)/bin/pip install --quiet --no-deps --ignore-installed 'filelock<3.20' lmms-eval==0.7.3
	LMMS_EVAL=$(LMMS)/bin/python $(BIN)/python -m pytest $(HARNESS)

test-pillow: $(TEST)
	for version in 11 12 13; do \
		$(BIN)/python -m pip install --quiet --no-deps --upgrade \
			--target=$(VENV)/pillow-$$version "pillow==$$version.*" || exit 1; \
		PYTHONPATH=$(VENV)/pillow-$$version $(BIN)/python -m pytest --disable-warnings -p no:cacheprovider \
			tests/test_patches.py tests/data/test_images.py tests/data/test_world_files.py \
			tests/kernels/test_region.py \
			|| exit 1; \
	done

bench: $(TEST)
	$(BIN)/python -m benchmarks

plan: $(RUN) $(TPU)
	PYTHONPATH=$(VENV)/tpu-$(VERSION) $(BIN)/python -m benchmarks.plans

lint: $(TEST)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/shellcheck .ci/run launch/tpu_pod.sh

$(RUN): $(MADE) setup.py pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(TEST): $(MADE) setup.py pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@ $(RUN)

# The compiler of TPUs, of the version that this JAX wants. Beside the environment: where JAX finds
# it, every program tells that there is no TPU.
WANTED := import importlib.metadata as m; print(next(r.split(";")[0].strip() \
	for r in m.requires("jax") if r.startswith("libtpu")))
$(TPU): $(RUN)
	if [ "$$(uname -sm)" = "Linux x86_64" ]; then \
		$(BIN)/python -m pip install --quiet --no-deps --upgrade --target=$(VENV)/tpu-$(VERSION) \
			"$$($(BIN)/python -c '$(WANTED)')"; \
	fi
	touch $@

# An environment of this version that is there already is kept.
$(MADE):
	$(BIN)/python -c 'import sys, pip; sys.exit("%d.%d" % sys.version_info[:2] != "$(VERSION)")' \
		2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	touch $@
