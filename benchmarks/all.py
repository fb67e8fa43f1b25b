"""All benchmarks, one after the other, and then the tables of docs/benchmarks.md.

One that fails doesn't keep the others from being measured. Leave the machine alone meanwhile.
"""

import os
import subprocess
import sys
import time

import measure
import tables

# What measures on another one's finished run comes behind it.
ORDER = (
    "stock_mnist", "plain_keras", "examples", "beam_processes", "ingest", "photographs", "review",
    "evaluation", "calibration", "feeding", "streaming", "batch_normalization", "precision",
    "fine_tuning", "minutes", "frozen_backbone", "serve", "batching", "fuzz_serving", "search",
    "several_machines", "containers", "dags", "pipelines", "transfer", "killed_search",
)  # fmt: skip


def main() -> None:
    """Runs them; the exit code says whether all came to their ends."""
    parser = measure.Parser(__doc__)
    parser.add_argument("--only", choices=ORDER, nargs="+", metavar="NAME", help=", ".join(ORDER))
    parser.add_place("--bentoml", "PYTHON", "for serve")
    parser.add_place("--airflow", "ENVIRONMENT", "for dags")
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    failed = []
    for name in options.only or ORDER:
        command = [sys.executable, str(measure.HERE / f"{name}.py")]
        command += [f"--{place}={getattr(options, place)}" for place in ("data", "results", "runs")]
        command += ["--smoke"] if options.smoke else []
        if name == "serve" and options.bentoml:
            command.append(f"--bentoml={options.bentoml}")
        if name == "dags" and options.airflow:
            command.append(f"--airflow={options.airflow}")
        print(f"\n{name}", flush=True)
        begin = time.monotonic()
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
        print(f"{name}: {time.monotonic() - begin:.0f} s", flush=True)
    if options.results == measure.RESULTS:
        tables.write()
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
