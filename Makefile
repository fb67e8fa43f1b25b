# make run: from images to a pushed model.   make test: everything that CI checks.
.PHONY: run test format clean

ready := .venv/ready

run: $(ready)
	.venv/bin/darkroom run

test: $(ready)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/pytest --numprocesses 2 --dist worksteal

format: $(ready)
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

$(ready): setup.py locks/install.py $(wildcard locks/*.txt)
	@command -v python3 >/dev/null || { echo "darkroom needs Python 3.10 or 3.11: there is no python3 on the PATH." >&2; exit 1; }
	python3 locks/install.py
	@touch $@

clean:
	rm -rf .venv runs build *.egg-info
