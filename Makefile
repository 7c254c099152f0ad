# make demo   the main job on synthetic data, in minutes     make test   the whole suite
PYTHON ?= python3.11
METHOD ?= confkd
# For 2 cores: tests wait for servers.
PROCESSES ?= 3
VENV := .venv
BIN := $(VENV)/bin
# Containers often set this: every program would then compile all that it imports anew, which takes MONAI's 12 seconds.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test test-faults label-env lint docs bench clean

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable ".[polyp,slides,imagenet]"
	touch $@

$(VENV)/.test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable ".[test]"
	touch $@

$(VENV)/.docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable ".[docs]"
	touch $@

demo: $(VENV)/.installed
	$(BIN)/medkd demo --method $(METHOD)

# The MONAI Label server of the tests needs versions that fight those of medkd: it has an environment of its own.
.label-env/medkd-ready.txt: medkd/serving/label_requirements.txt | $(VENV)/.installed
	$(BIN)/medkd label-env .label-env
	touch $@

label-env: .label-env/medkd-ready.txt

test: $(VENV)/.test .label-env/medkd-ready.txt
	$(BIN)/python -m pytest --numprocesses $(PROCESSES) $(PYTEST_ARGS)

# The suite lets each fault happen once; this is for the night: twenty times, and 125 damaged files for each bundle.
test-faults: $(VENV)/.test
	MEDKD_FAULTS=20 $(BIN)/python -m pytest --numprocesses $(PROCESSES) tests/bundles/faults $(PYTEST_ARGS)

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict medkd

docs: $(VENV)/.docs
	$(BIN)/mkdocs build --strict --quiet

bench: $(VENV)/.installed
	$(BIN)/python benchmarks/engine_overhead.py

clean:
	rm -rf $(VENV) .label-env demo site
