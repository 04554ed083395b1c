python = .venv/bin/python

.PHONY: install run check other-machines gpu signatures results docs tutorial

install: # a virtual environment with the package and the tools
	python3 -m venv .venv
	.venv/bin/pip install -e ".[test]"

run: # pre-train on synthetic images
	.venv/bin/accelerate launch recipes/pretrain.py

check: # style, types and tests
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	$(python) -m pytest

other-machines: # the numerical tests as machines with other instruction sets would round
	$(python) tests/other_machines.py

gpu: # the tests that need a GPU
	$(python) -m pytest -m gpu

signatures: # the Python signatures and the drawing of the architecture, from the code
	$(python) docs/signatures.py
	.venv/bin/ruff format gravis_triton/__init__.pyi
	$(python) docs/architecture.py

results: # the tables of README.md and docs/results.md, from docs/results/*.csv
	$(python) docs/results.py

docs: # the site, in build/site
	.venv/bin/pip install --quiet -e ".[docs]"
	.venv/bin/mkdocs build --strict

tutorial: # run the tutorial and keep its outputs
	.venv/bin/jupyter execute --inplace docs/tutorial.ipynb
