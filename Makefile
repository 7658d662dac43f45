# Two commands for a newcomer: `make repro` (meshes -> released model, report, animation) and `make test`.
# Each does its own set-up: a virtual environment in .venv with the exact versions of requirements.lock.
SHELL := /bin/bash
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export DVC_NO_ANALYTICS := 1
export DO_NOT_TRACK := true
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export MLFLOW_DISABLE_TELEMETRY := true
PROFILE ?= default
VIDEO ?=

.PHONY: repro test bench experiment experiments lint setup lock

setup:           ## the pinned environment, and what this machine can do
	@tools/setup.sh
	@serep doctor

repro: setup     ## every stage that is not up to date, the release, and an animation from a video (VIDEO=clip.mp4; else the run's own test sequence)
	@tools/repro.sh "$(PROFILE)" "$(VIDEO)"

test:            ## all tests, on the pinned environment
	@tools/setup.sh
	ruff check .
	lint-imports
	pytest -n auto --dist loadfile -m "not slow"
	pytest -n auto --dist loadfile -m slow

experiment:      ## one experiment (NAME=cycle; tools/experiment.py --list names them) and its table in the report
	@tools/setup.sh
	python tools/experiment.py $(NAME) $(if $(SET),--set $(SET))
	dvc repro report

experiments:     ## all that need nothing but this project
	@tools/setup.sh
	for name in code_size cycle held_out_units population truth; do python tools/experiment.py $$name || exit 1; done
	dvc repro report

bench:           ## every benchmark under benchmarks/: one JSON each in benchmarks/results/, and a printed table
	@tools/setup.sh
	python -m benchmarks

lint:
	@tools/setup.sh
	ruff check . && lint-imports

lock:            ## rewrite requirements.lock from pyproject.toml (needs uv)
	tools/lock.sh
