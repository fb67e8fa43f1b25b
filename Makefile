# make run: from images to a pushed model.   make test: style, types and tests, in ten minutes.
# make test-slow: whole runs, real clusters, benchmarks in a smoke size. CI does both.
.PHONY: run test test-slow tools browser databases format clean

# Where it is set, each of the tests' hundred processes would compile darkroom anew.
unexport PYTHONDONTWRITEBYTECODE

ready := .venv/ready
airflow := .venv-airflow/ready
pytest := .venv/bin/pytest --numprocesses 2 --dist loadgroup --no-loadscope-reorder

run: $(ready)
	.venv/bin/darkroom run

test: tools $(ready) $(airflow) browser databases
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports
	.venv/bin/mypy
	$(pytest) -m "not slow"

test-slow: tools $(ready) $(airflow) browser databases
	$(pytest) -m slow

# What the tests need of the system, said before anything is installed.
tools:
	@[ -e $(airflow) ] || python3 locks/install.py --check --airflow

# Pages are tested in a real browser.
browser:
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null || { \
	  [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null || { \
	    echo "The tests need Chromium; as root: apt-get install chromium chromium-driver fonts-dejavu-core" >&2; exit 1; }; \
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium chromium-driver fonts-dejavu-core; }

# ML Metadata's records are written to a real server.
databases:
	@command -v mariadbd >/dev/null || { \
	  [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null || { \
	    echo "The tests need MariaDB: as root: apt-get install mariadb-server" >&2; exit 1; }; \
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends mariadb-server; }

format: $(ready)
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

$(ready): setup.py locks/install.py $(wildcard locks/*.txt)
	@command -v python3 >/dev/null || { echo "darkroom needs Python 3.10 or 3.11: there is no python3 on the PATH." >&2; exit 1; }
	python3 locks/install.py
	@touch $@

# Airflow's DAGs are tested in the real one, which has an environment of its own.
$(airflow): setup.py locks/install.py locks/airflow-2.11.txt
	python3 locks/install.py --airflow
	@touch $@

clean:
	rm -rf .venv .venv-airflow runs build *.egg-info
