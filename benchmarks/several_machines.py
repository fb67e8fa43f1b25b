"""MNIST trained on one machine and on two, and on two of which one is killed and started again.

All are processes on this machine, so the seconds say nothing of what two machines gain. Without
dropout and augmentation, which draw otherwise on each machine, all three should come to the same.
The network is of dense layers: convolutions with max pooling part by round-off alone, already
between one thread and two of the same machine.
"""

import contextlib
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import measure

from darkroom.components.pushing.validation_server import free_ports
from darkroom.components.training import checkpoint

CONFIG = "mnist"
_OVERRIDES = [
    "training.schedule=constant", "training.learning_rate=1e-3", "training.average_epochs=0",
    "training.precision=float32",
    "model.name=dense", "model.dropout=0.0", "augmentation={}", "evaluation.min_accuracy=0",
    "serving.validation.enabled=false",
]  # fmt: skip


def main() -> None:
    """Runs all sides and reports."""
    parser = measure.Parser(__doc__)
    # Enough that one can be killed between the first and the last of few images.
    parser.add_size("--epochs", 4, 60, "of the training")
    options = parser.parse_args()
    overrides = [
        *options.smaller, f"data.path={options.data / 'mnist'}",
        f"training.epochs={options.epochs}", *_OVERRIDES,
    ]  # fmt: skip
    with measure.folder() as folder:
        done = measure.pipeline(folder, CONFIG, overrides)
        expected = _history(folder)
        rows = [_row("one machine", expected, expected) | {"seconds": done.training_seconds}]
    overrides.append("training.strategy=multi_worker")
    sides = {"two machines": False, "two machines, one killed": True}
    for side, kills in list(sides.items())[1 if options.smoke else 0 :]:
        with measure.folder() as folder:
            seconds = _two(folder, overrides, kills)
            rows.append(_row(side, _history(folder), expected) | seconds)
    measure.report(options, rows)


def _two(folder: Path, overrides: list[str], kills: bool) -> dict[str, float]:
    """A chief and a worker; how long it took the chief to notice, and all to go on."""
    seconds: dict[str, float] = {}
    addresses = [f"127.0.0.1:{port}" for port in free_ports()]
    overrides = [*overrides, f"root={folder / 'runs'}"]
    with contextlib.ExitStack() as stack:

        def start(kind: str) -> subprocess.Popen[bytes]:
            cluster = {"chief": addresses[:1], "worker": addresses[1:]}
            task = {"type": kind, "index": 0}
            os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": task})
            own = Path(tempfile.mkdtemp(prefix=kind, dir=folder))
            (folder / kind).unlink(missing_ok=True)
            (folder / kind).symlink_to(own)
            command = measure.darkroom_command(
                "run" if kind == "chief" else "worker", CONFIG, overrides
            )
            return stack.enter_context(measure.started(command, own))

        worker, chief = start("worker"), start("chief")
        if kills:
            _wait(chief, lambda: _epochs(folder) >= 1)
            worker.kill()
            begin, before = time.monotonic(), _epochs(folder)
            worker = start("worker")
            output = folder / "chief" / "stdout.txt"
            _wait(chief, lambda: "was lost" in output.read_text(encoding="utf-8"))
            seconds["seconds_until_noticed"] = time.monotonic() - begin
            _wait(chief, lambda: _epochs(folder) > before)
            seconds["seconds_until_the_next_epoch"] = time.monotonic() - begin
        for process in (chief, worker):
            if process.wait():
                raise SystemExit((folder / "chief" / "stdout.txt").read_text(encoding="utf-8"))
        del os.environ["TF_CONFIG"]
        status = measure.status(folder, CONFIG, overrides)
    return {"seconds": measure.training_seconds(status), **seconds}


def _row(side: str, history: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
    differences = {
        name: max(abs(a - b) for a, b in zip(history[name], values, strict=True))
        for name, values in expected.items()
    }
    last = {name: history[name][-1] for name in ("loss", "val_loss", "val_accuracy")}
    return {
        "side": side,
        "epochs": len(history["loss"]),
        **last,
        "largest_difference": f"{max(differences.values()):.1e}",
        "seconds": None,
        "seconds_until_noticed": None,
        "seconds_until_the_next_epoch": None,
    }


def _history(folder: Path) -> dict[str, Any]:
    [path] = folder.glob("runs/*/artifacts/Trainer/model_run/*/history.json")
    history: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["history"]
    return history


def _epochs(folder: Path) -> int:
    for path in folder.glob("runs/*/artifacts/Trainer/checkpoints/*.npz"):
        if (state := checkpoint.read(str(path))) is not None:
            return state.epoch
    return 0


def _wait(chief: subprocess.Popen[bytes], until: Callable[[], bool]) -> None:
    while not until():
        if chief.poll() is not None:
            raise SystemExit(f"The chief ended by itself with code {chief.returncode}.")
        time.sleep(0.1)


if __name__ == "__main__":
    main()
