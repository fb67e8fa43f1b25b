"""A search that is killed again and again, and then run to its end, against an undisturbed one.

Only the main process gets SIGKILL, at random moments; its workers have to end by themselves.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, NamedTuple

import measure
import psutil

CONFIG = "mnist_random"
_SECONDS_TO_END = 10.0


def main() -> None:
    """Runs both sides and reports."""
    parser = measure.Parser(__doc__)
    parser.add_size("--kills", 10, 1, "of the main process")
    parser.add_size("--trials", 50, 2, "of the search")
    parser.add_size("--executions", 3, 1, "fits of a trial")
    parser.add_size("--epochs", 10, 1, "of a fit")
    parser.add_size("--seed", 0, 0, "of the moments")
    options = parser.parse_args()
    planned = [options.epochs] * options.executions
    overrides = [
        *options.smaller, f"data.path={options.data / 'mnist'}",
        f"tuner.max_trials={options.trials}",
        f"tuner.executions_per_trial={options.executions}", f"tuner.epochs={options.epochs}",
        "training.epochs=1", "evaluation.min_accuracy=0",
    ]  # fmt: skip
    with measure.folder() as folder:
        done = measure.pipeline(folder, CONFIG, overrides)
        undisturbed, expected = done.run.seconds, done.trials
        checkpoints = _checkpoints(folder)
    print(f"undisturbed: {undisturbed:.1f} s", flush=True)
    with measure.folder() as folder:
        between = undisturbed / (options.kills + 1)
        generator = random.Random(options.seed)
        waits = [between * generator.uniform(0.5, 1.5) for _ in range(options.kills)]
        starts = _kill(folder, overrides, waits)
        done = measure.pipeline(folder, CONFIG, overrides)
        print(f"run to the end: {done.run.seconds:.1f} s", flush=True)
        seconds = sum(start.seconds for start in starts) + done.run.seconds
        trials = done.trials
        left = _checkpoints(folder)
    common: dict[str, Any] = {"planned": planned, "expected": expected, "undisturbed": undisturbed}
    measure.report(
        options,
        [
            _row("undisturbed", undisturbed, [], expected, checkpoints, **common),
            _row("killed", seconds, starts, trials, left, **common),
        ],
    )


class Start(NamedTuple):
    """A start of the pipeline that was to be killed."""

    seconds: float
    killed: bool  # or it came to its end before
    left_alive: list[str]  # processes that outlived it


def _kill(folder: Path, overrides: list[str], waits: list[float]) -> list[Start]:
    """Starts the pipeline and kills it after each of the times, in seconds."""
    starts = []
    for number, wait in enumerate(waits, start=1):
        start = _start(folder, overrides, wait)
        print(
            f"start {number}: {'killed' if start.killed else 'done'} after {start.seconds:.1f} s, "
            f"{_ended(folder)} trials had ended"
            + (f", still alive: {', '.join(start.left_alive)}" if start.left_alive else ""),
            flush=True,
        )
        starts.append(start)
        if not start.killed:
            break
    return starts


def _start(folder: Path, overrides: list[str], wait: float) -> Start:
    command = measure.darkroom_command("run", CONFIG, [*overrides, f"root={folder / 'runs'}"])
    begin = time.monotonic()
    with measure.started(command, folder) as process:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(wait)
        process.kill()  # does nothing where it has ended
        code = process.wait()
        seconds = time.monotonic() - begin
        if code not in (0, -signal.SIGKILL):
            errors = (folder / "stderr.txt").read_text(encoding="utf-8", errors="replace")
            raise SystemExit(f"A start ended by itself with code {code}.\n{errors[-4000:]}")
        deadline = time.monotonic() + _SECONDS_TO_END
        while (alive := _alive(process.pid)) and time.monotonic() < deadline:
            time.sleep(0.1)
    return Start(seconds, code != 0, alive)


def _alive(session: int) -> list[str]:
    """What still runs in a session; a zombie only waits for its parent to notice."""
    names = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):  # ended meanwhile
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                names.append(f"{process.pid} {process.name()}")
    return names


def _ended(folder: Path) -> int:
    """How many trials are done, by the oracle's state."""
    for path in folder.glob("runs/**/Tuner/searches/*/oracle.json"):
        return len(json.loads(path.read_text(encoding="utf-8"))["end_order"])
    return 0


def _checkpoints(folder: Path) -> int:
    return len(list(folder.glob("runs/**/Tuner/searches/*/trial_*/*.npz*")))


def _row(
    side: str,
    seconds: float,
    starts: list[Start],
    trials: list[dict[str, Any]],
    checkpoints: int,
    planned: list[int],
    expected: list[dict[str, Any]],
    undisturbed: float,
) -> dict[str, Any]:
    scores = {trial["trial_id"]: trial["score"] for trial in expected}
    return {
        "side": side,
        "kills": sum(start.killed for start in starts),
        "workers_left_alive": sum(len(start.left_alive) for start in starts),
        "seconds": round(seconds, 2),
        "overhead_percent": round(100 * (seconds / undisturbed - 1), 1),
        "completed_trials": sum(trial["status"] == "COMPLETED" for trial in trials),
        "distinct_ids": len({trial["trial_id"] for trial in trials}),
        "other_epochs_than_planned": sum(
            [len(fit["loss"]) for fit in trial["history"]] != planned for trial in trials
        ),
        "score_of_undisturbed": sum(
            trial["score"] is not None and trial["score"] == scores.get(trial["trial_id"])
            for trial in trials
        ),
        "best_score": trials[0]["score"],
        "checkpoints": checkpoints,
    }


if __name__ == "__main__":
    main()
