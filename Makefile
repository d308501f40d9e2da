# Everything starts from Python 3.11 or newer. `make demo`, `make test` and `make lint` install what they need.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: help install demo test cluster lint docs mutate entries clean

help:
	@echo "make demo   the whole story on the embedded world: data, methods, scores, leaderboard page"
	@echo "make test   the test suite"
	@echo "make cluster   the tests of many machines: Ray, storage that is not a disk, SLURM"
	@echo "make lint   ruff and mypy"
	@echo "make docs   the documentation as a site"
	@echo "make mutate tries 400 mutants of metrics, losses, tracking, bundle checks and statistics; an hour"
	@echo "make entries   file every scored run of runs/ that has a card in leaderboard/cards as an entry"

install: $(STAMP)

# torch goes first: with it in place nothing below asks for another build of it.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; $(PYTHON) is older. Set PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -d ovsbench/benchmark/ || \
	  { echo "expected ovsbench/benchmark to be a symbolic link to ../benchmark, got a text file: this checkout came as a zip" \
	    "download or without links. Use git clone, or install it whole with: pip install ." >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt torch torchvision
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[gkc,video,dev]"
	touch $@

demo: $(STAMP)
	$(BIN)/ovsbench demo

# Without the cluster of `make cluster`, also where Ray is installed.
test: $(STAMP)
	$(BIN)/python -m pytest --ignore=tests/test_ray_cluster.py --ignore=tests/test_remote_s3.py

# What `make test` leaves out: a cluster of three nodes on this machine, a store behind a bad network, a job of SLURM.
cluster: $(STAMP)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[ray,dev]" "moto[s3,server]"
	$(BIN)/python -m pytest tests/test_ray_cluster.py tests/test_remote_s3.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The documentation as a site, every link of which leads somewhere.
docs: $(STAMP)
	$(BIN)/python -m pip install --quiet -c constraints.txt mkdocs-material "mkdocstrings[python]" mkdocs-jupyter
	$(BIN)/mkdocs build --quiet
	@echo "build/site-docs/index.html; its search works from a server: python3 -m http.server -d build/site-docs"

# Changes the code in copies, one place at a time, and prints the changes that no test notices.
mutate: $(STAMP)
	$(BIN)/python -m pip install --quiet -c constraints.txt cosmic-ray
	$(BIN)/python tests/mutate.py --mutants 400 --seed 0

# An entry that is there already is left alone; the command says so and goes on with the next run.
RUNS ?= runs
entries: $(STAMP)
	@for card in leaderboard/cards/*.toml; do \
	  name=$$(basename $$card .toml); run=$(RUNS)/$$name; test -f $$run/scores.json || continue; \
	  mkdir -p build && $(BIN)/ovsbench submit $$run --card $$card --predictions --pictures 1 -o build/$$name.zip && \
	  data=$$($(BIN)/python -c "import json, sys; print(json.load(open(sys.argv[1]))['benchmark_folder'])" $$run/run.json) && \
	  $(BIN)/ovsbench board add build/$$name.zip --data "$$data" --entries leaderboard/entries --new-benchmark || true; \
	done
	$(BIN)/ovsbench board verify --entries leaderboard/entries

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
