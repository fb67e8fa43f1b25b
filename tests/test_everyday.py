"""What people do every day, by hand and in a hurry: each act ends in the right, single sentence."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import PATIENCE, SMALL_CONFIG, Project, command, environment

pytestmark = pytest.mark.slow

C = "--config config.yaml"
RUN = f"run {C}"
SET = f"{RUN} --set"
# Where no picture is named for itself.
PICTURE = "picture.png"

# The words after `darkroom`, the exit code, and what is said: of all that is printed.
ACTS: list[tuple[str, int, str]] = [
    # Typos
    ("", 2, "Missing command. darkroom --help tells more"),
    ("rnu", 2, "no command rnu. Did you mean 'run'"),
    ("--hlep", 2, "no option --hlep. Did you mean '--help'"),
    ("run --confg x", 2, "no option --confg. Did you mean '--config'"),
    ("status extra", 2, "unexpected extra argument"),
    ("run --config nothere.yaml", 2, "no such configuration file, and no shipped"),
    ("run --config mnits", 2, "Did you mean 'mnist'"),
    ("run --config .", 2, "expected a YAML file, found a folder"),
    (f"{RUN} --set", 2, "'--set' requires an argument"),
    (f"{SET} training.epochs", 2, "expected dotted.key=value"),
    (f"{SET} =3", 2, "expected dotted.key=value"),
    (f"{SET} training.epoch=3", 2, "training.epoch: unknown key. Did you mean 'epochs'"),
    (f"{SET} trainin.epochs=3", 2, "unknown key. Did you mean 'training'"),
    (f"{SET} model.name=ResNet51", 2, "Did you mean 'ResNet50'"),
    # Wrong values
    (f"{SET} training.epochs=three", 2, "expected a valid integer, found 'three'"),
    (f"{SET} training.epochs=-1", 2, "greater than or equal to 1, found -1"),
    (f"{SET} training.epochs=1.5", 2, "expected a valid integer, found 1.5"),
    (f"{SET} training.epochs=", 2, "training.epochs: .*found None"),
    (f"{SET} training=3", 2, "training: expected a valid dictionary"),
    (f"{SET} training.epochs=[3", 2, "the value is not valid YAML"),
    (f"{SET} model.filters=16", 2, r"expected a list, such as \[16\], found 16"),
    (f"{SET} runner=flink", 2, "expected 'beam' or 'local', found 'flink'"),
    (f"{SET} name=A_b", 2, "expected lower-case letters, digits and dashes"),
    (f"{SET} name=", 2, "name: expected a valid string, found None"),
    (f"{SET} training.learning_rate=0", 2, "training.learning_rate: expected greater than 0"),
    (f"{SET} preprocessing.height=0", 2, "preprocessing.height: expected greater than"),
    (f"{SET} evaluation.min_accuracy=97", 2, "expected less than or equal to 1, found 97"),
    (f"{SET} evaluation.baseline=last", 2, "expected 'stable' or 'none', found 'last'"),
    (f"{SET} tuner.space.training.lr=[1]", 2, "tuner.space"),
    (f"{SET} data.splits=half", 2, "data.splits: expected"),
    (f"{RUN} --minutes x", 2, "--minutes: expected a number above 0, received 'x'"),
    (f"{RUN} --minutes 0", 2, "expected a number above 0, received '0'"),
    (f"{RUN} --minutes -1", 2, "expected a number above 0, received '-1'"),
    (f"{RUN} --smoke --require-blessed", 2, "exclude each other"),
    (f"lr-scan {C} --set lr_scan.points=0", 2, "lr_scan.points: expected greater than"),
    # Files of configuration
    ("status --config twice.yaml", 2, "line 2, column 1: not valid YAML: the key name stands tw"),
    ("status --config open.yaml", 2, "not valid YAML"),
    ("status --config tab.yaml", 2, "cannot start any token"),
    ("status --config bytes.yaml", 2, "bytes.yaml: can't be read: 'utf-8' codec"),
    ("status --config empty.yaml", 2, "name: missing"),
    ("status --config list.yaml", 2, "expected keys and values, found a list"),
    # Data and folders
    (f"{SET} data.path=nowhere", 2, "data: path is nowhere and bundled is digits"),
    (f"{SET} data.bundled=null", 2, "set data.path to a folder of TFRecords"),
    (f"{SET} data={{path: nowhere}}", 1, "The data folder .*nowhere doesn't exist"),
    (f"{SET} data={{path: config.yaml}}", 1, "expected a folder of TFRecord files"),
    (f"{SET} data={{path: photos}}", 1, "darkroom ingest"),
    (f"{SET} data={{path: nothing}}", 1, "nothing"),
    (f"{SET} root=config.yaml", 1, "can't be written: Not a directory. Set root to a folder of y"),
    (f"{SET} root=/proc/here", 1, "can't be written"),
    (f"{SET} model.weights=none.h5", 1, "model.weights: expected imagenet, a .weights.h5"),
    (f"{SET} model.weights=none.keras", 1, "none.keras isn't there"),
    (f"{SET} data.class_names=none.txt", 2, "none.txt can't be read: No such file"),
    # A user's own code
    (f"{SET} model.build_fn=nosuch", 1, "expected a dotted path such as my_package"),
    (f"{SET} model.build_fn=nosuch.f", 1, "names the module 'nosuch', which can't be found"),
    (f"{SET} model.build_fn=os.nothing", 1, "has no function or class 'nothing'; it has .* more"),
    (f"{SET} model.build_fn=broken.f", 1, "SyntaxError"),
    (f"{SET} model.build_fn=raising.f", 1, "ZeroDivisionError"),
    (f"{SET} model.build_fn=networks.none", 1, "to return a compiled keras.Model, received None"),
    (f"{SET} model.build_fn=networks.two", 1, "to take hp, config and num_classes, it takes"),
    # A project that has run
    (f"status {C}", 0, "version .* stable"),
    (f"status {C} --json", 0, '"pushed_version"'),
    (f"status {C} --set name=other", 1, "other has not run yet"),
    (f"report {C}", 0, "report.html"),
    (f"report {C} 0 --markdown", 0, "Blessed and pushed"),
    (f"report {C} --json", 0, '"pipeline": "small"'),
    (f"report {C} --json --markdown", 2, "exclude each other"),
    (f"report {C} 99", 1, "small has no run 99. There are .* name one, or 0 for the newest"),
    (f"report {C} yesterday", 1, "small has no run yesterday"),
    (f"compare {C}", 2, "Missing argument"),
    (f"compare {C} 0 0", 0, "accuracy"),
    (f"compare {C} 0 1", 1, "small has no run 1"),
    (f"compare {C} 0 nowhere/report.json", 1, "can't be read"),
    (f"lineage {C}", 0, "Trainer"),
    (f"lineage {C} 999", 1, "small has made no model 999. Name a pushed version"),
    (f"versions {C}", 0, "is stable"),
    (f"versions {C} --set name=other", 1, "No model has been pushed"),
    (f"promote {C} 7", 1, "There is no version 7; there is"),
    (f"promote {C} seven", 2, "'seven' is not a valid integer"),
    (f"promote {C} --canary", 1, "is stable, and a canary is another one beside it"),
    (f"promote {C}", 0, "is stable"),
    (f"rollback {C}", 1, "nothing to roll back to"),
    # Asking
    (f"predict {C} {PICTURE}", 0, rf"{PICTURE}: \d 0\.\d+"),
    (f"predict {C} photos", 0, r"photos/cat/a.png: \d 0\.\d+"),
    (f"predict {C} photos/cat/*.png", 0, r"photos/cat/b.png: \d 0\.\d+"),
    (f"predict {C} 'photos/cat/[ab].png' --format csv", 0, "^image,label,"),
    (f"predict {C} {PICTURE} --format jsonl", 0, '^{"image"'),
    (f"predict {C} {PICTURE} --json", 0, r"^\["),
    (f"predict {C} {PICTURE} --format xml", 2, "'xml' is not one of"),
    (f"predict {C}", 2, "Missing argument 'IMAGE...'"),
    (f"predict {C} nothere.png", 1, "nothere.png: can't be read: No such file or directory"),
    (f"predict {C} config.yaml", 1, "config.yaml: can't be decoded: not an image"),
    (f"predict {C} empty.png", 1, "can't be decoded"),
    (f"predict {C} cut.png", 1, "cut.png: can't be decoded"),
    (f"predict {C} nothing", 1, "nothing"),
    (f"predict {C} 'x*.png'", 1, "no file matches this pattern"),
    (f"predict {C} {PICTURE} nothere.png", 1, "nothere.png: can't be read"),
    (f"predict {C} {PICTURE} --label canary", 1, "--labels is for a server: name it"),
    (f"predict {C} {PICTURE} --url http://localhost:1", 1, "can't be reached; is a server runni"),
    (f"predict {C} {PICTURE} --url localhost:1", 1, "expected one such as http://localhost:8501"),
    (f"predict {C} {PICTURE} --url http://nowhere.invalid", 1, "can't be reached"),
    (f"predict {C} {PICTURE} --grpc localhost:1", 1, "can't be reached; is a server running"),
    (f"predict {C} {PICTURE} --grpc http://localhost:1", 1, "no address of gRPC: expected one su"),
    (f"predict {C} {PICTURE} --url http://localhost:1 --grpc localhost:1", 2, "exclude each other"),
    (f"predict {PICTURE} --set root=nowhere", 1, "No model has been pushed to .*nowhere"),
    (f"inspect {C}", 0, "serving_default"),
    (f"inspect {C} nowhere", 1, "is not a SavedModel"),
    (f"inspect {C} photos", 1, "is not a SavedModel"),
    # Serving
    (f"serve {C} --port x", 2, "'x' is not a valid integer"),
    (f"serve {C} --port 70000", 2, "expected a port from 0 to 65535, received '70000'"),
    (f"serve {C} --port 0 --rest-port 0", 2, "nothing to listen on"),
    (f"serve {C} --port 8501 --rest-port 8501", 2, "both 8501"),
    (f"serve {C} -- --nosuchflag", 2, "unrecognized arguments: --nosuchflag"),
    (f"serve {C} --host 192.0.2.1", 1, "can't listen on 192.0.2.1:8500: .* another --host"),
    (f"serve {C} --set name=other", 1, "No model has been pushed"),
    # Making data
    ("ingest", 2, "Missing argument 'SRC'"),
    ("ingest photos", 2, "Missing argument 'DST'"),
    ("ingest nowhere out", 1, "nowhere: doesn't exist. Expected a folder, or a CSV manifest"),
    ("ingest config.yaml out", 1, "expected a folder, or a manifest whose name ends with .csv"),
    ("ingest nothing out", 1, "no images found. Expected a folder for each class"),
    ("ingest bad.csv out", 1, "bad.csv"),
    ("ingest photos out --eval-share 2", 2, "--eval-share"),
    ("ingest photos config.yaml", 1, "config.yaml"),
    ("ingest photos records", 0, "train"),
    # The rest
    ("--version", 0, "darkroom .*tensorflow"),
    ("--help", 0, "run "),
    ("run --help", 0, "--config"),
    ("compile", 1, "kubeflow.image: missing"),
    ("lock", 0, "tfx-1.[0-9]+.txt"),
    ("completion", 2, "Missing argument"),
    ("completion csh", 2, "'csh' is not one of 'bash', 'zsh', 'fish'"),
    ("completion bash", 0, "complete"),
    ("completion zsh", 0, "compdef"),
    ("completion fish", 0, "function"),
    ("tensorboard --set root=nowhere", 1, "has trained nothing yet"),
    ("config --set training.epochs=x", 2, "expected a valid integer"),
]


@pytest.fixture(scope="module")
def project(small: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of a project that has run, in a folder with what lies about in such folders."""
    folder = tmp_path_factory.mktemp("everyday")
    picture = small.copied(folder)[0]
    shutil.copy(picture, folder / PICTURE)
    for kind, names in {"cat": "abcdefghij", "dog": "klmnopqrst"}.items():
        (folder / "photos" / kind).mkdir(parents=True)
        for name in names:
            content = picture.read_bytes()
            (folder / "photos" / kind / f"{name}.png").write_bytes(content)
    (folder / "nothing").mkdir()
    texts = {
        "twice.yaml": "name: small\nname: other\n",
        "open.yaml": "name: [",
        "tab.yaml": "name:\tsmall\n",
        "empty.yaml": "",
        "list.yaml": "- a\n- b\n",
        "empty.png": "",
        "bad.csv": "image,kind\na.png,cat\n",
        "broken.py": "def f(:\n",
        "raising.py": "1 / 0\n",
        "networks.py": "def none(hp, config, n): ...\ndef two(config, n): ...\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    (folder / "bytes.yaml").write_bytes(b"name: \xff\xfe\n")
    (folder / "cut.png").write_bytes((folder / PICTURE).read_bytes()[:60])
    assert shell(f"D status {C}", folder).returncode == 0  # which finds that it was moved
    return folder


def shell(words: str, folder: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Runs words of a shell, in which D is darkroom; stdout and stderr in ``stdout``."""
    darkroom = " ".join(command())
    return subprocess.run(
        ["bash", "-c", words.replace("D ", f"{darkroom} ", 1)],
        cwd=folder,
        env={**environment(), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.parametrize(("words", "code", "said"), ACTS, ids=[words for words, *_ in ACTS])
def test_an_act(project: Path, words: str, code: int, said: str) -> None:
    quoted = re.sub(r"(data=\{.*\})", r"'\1'", words)
    result = shell(f"D {quoted}", project)
    assert result.returncode == code, result.stdout
    assert re.search(said, result.stdout, re.MULTILINE), result.stdout
    assert "Traceback" not in result.stdout.replace("Its traceback", "")
    if code and not re.search("broken|raising", words):  # which have lines of theirs
        lines = result.stdout.splitlines()
        ours = ("darkroom: ", "model_server: ", "empty.yaml: ")
        assert all(line.startswith(ours) for line in lines), lines


STREAMS = {
    f"D status {C} | head -1": "^small, run",
    f"D status {C} --json | head -c 20": '"pipeline"',
    f"D versions {C} >&-; echo $?": "^0$",
    f"D versions {C} 2>&-": "is stable",
    f"D versions {C} <&-": "is stable",
    f"D versions {C} > /dev/full; echo $?": "The disk is full",
    f"LC_ALL=C PYTHONIOENCODING=ascii D status {C}": "stable",
    f"PYTHONIOENCODING=latin-1 D report {C} --markdown": "Blessed and pushed",
    f"TERM=dumb COLUMNS=20 D status {C}": "stable",
    f"yes | D versions {C}": "is stable",
    "cd photos; D status --config ../config.yaml --set root=../runs": "stable",
    f"D predict {C} - < {PICTURE}; echo $?": "can't be read",
}


@pytest.mark.parametrize("words", STREAMS)
def test_streams_terminals_and_encodings(project: Path, words: str) -> None:
    result = shell(words, project)
    assert re.search(STREAMS[words], result.stdout, re.MULTILINE), result.stdout
    assert "Traceback" not in result.stdout


def remove(pattern: str) -> Callable[[Path], None]:
    def removed(home: Path) -> None:
        for path in home.glob(pattern):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    return removed


def spoil(name: str) -> Callable[[Path], None]:
    return lambda home: (home / name).write_bytes(b"x" * 5000) and None


# What happens to a pipeline's folder, and what each command says of it then: code and words.
LOSSES: dict[str, tuple[Callable[[Path], None], dict[str, tuple[int, str]]]] = {
    "moved": (
        lambda home: None,
        {"status": (0, "stable"), "report": (0, "report.html"), "lineage": (0, "Trainer")},
    ),
    "without artifacts": (
        remove("artifacts"),
        {
            "status": (0, "report.html, removed since"),
            "report": (1, "No run of small has a report: darkroom run writes one"),
            "lineage": (0, "Trainer"),
            "predict {picture}": (0, r": \d 0\."),
        },
    ),
    "without its report": (
        remove("artifacts/Report/report/*/report.*"),
        {"status": (0, "removed since"), "report": (1, "No run of small has a report")},
    ),
    "without its page": (
        remove("artifacts/Report/report/*/report.html"),
        {"status": (0, "removed since"), "report": (0, "report.json")},
    ),
    "without records": (
        remove("metadata.sqlite"),
        {
            "status": (1, "small has not run yet: .*metadata.sqlite isn't there"),
            "versions": (0, "is stable"),
            "predict {picture}": (0, r": \d 0\."),
        },
    ),
    "with damaged records": (
        spoil("metadata.sqlite"),
        {
            "status": (1, "metadata.sqlite can't be used: .*Restore it; or move it away"),
            "run": (1, "metadata.sqlite can't be used: .*Restore it; or move it away"),
            "versions": (0, "is stable"),
        },
    ),
    "without versions": (
        remove("pushed"),
        {
            "status": (0, "not there any more|removed|not served|nothing"),
            "versions": (1, "No model has been pushed"),
            "predict {picture}": (1, "No model has been pushed"),
            "serve": (1, "No model has been pushed"),
        },
    ),
    "without the stable version": (
        remove("pushed/small/*/saved_model.pb"),
        {"predict {picture}": (1, "saved_model.pb"), "inspect": (1, "is not a SavedModel")},
    ),
    "with a damaged file of models": (
        spoil("pushed/models.config"),
        {
            "versions": (1, "is not a model config file: .*Mend it; or remove it"),
            "serve": (1, "is not a model config file"),
            "status": (0, "is not a model config file"),
        },
    ),
    "without logs": (remove("logs"), {"status": (0, "stable")}),
}


@pytest.mark.parametrize("name", LOSSES)
def test_folders_that_are_moved_and_thinned_out(project: Path, tmp_path: Path, name: str) -> None:
    happens, commands = LOSSES[name]
    folder = tmp_path / "moved here"
    shutil.copytree(project / "runs", folder / "runs")
    shutil.copy(project / "config.yaml", folder)
    happens(folder / "runs" / "small")
    for words, (code, said) in commands.items():
        asked = words.format(picture=project / PICTURE)
        result = shell(f"D {asked} {C}", folder)
        assert result.returncode == code, result.stdout
        assert re.search(said, result.stdout), result.stdout
        assert "Traceback" not in result.stdout


def test_a_disk_that_can_only_be_read(project: Path, tmp_path: Path) -> None:
    script = """
        mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && cd "$1" || exit 9
        for words in status versions "report --markdown" lineage "predict $2" promote run; do
          echo "--- $words"; $3 $words --config config.yaml
        done
    """
    folder = tmp_path / "only"
    shutil.copytree(project, folder)
    darkroom = " ".join(command())
    result = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "bash", "-c", script, "bash", str(folder),
         PICTURE, darkroom],
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
        check=False,
    )  # fmt: skip
    parts = re.split(r"^--- (\w+).*\n", result.stdout, flags=re.MULTILINE)
    said = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert "Traceback" not in result.stdout
    assert "stable" in said["status"]
    assert "is stable" in said["versions"]
    assert "Blessed and pushed" in said["report"]
    assert "Trainer" in said["lineage"]
    assert re.search(rf"{PICTURE}: \d 0\.", said["predict"])
    assert "models.config.lock can't be used: Read-only file system." in said["promote"]
    assert "can't be written: Read-only file system. Set root to a folder of yours" in said["run"]


# Brings the loopback device up, runs a command, and counts packets that had nowhere to go.
ALONE = """
import fcntl, pathlib, re, socket, struct, subprocess, sys
up, running, set_flags = 0x1, 0x40, 0x8914
with socket.socket() as any_socket:
    fcntl.ioctl(any_socket, set_flags, struct.pack("16sh", b"lo", up | running))
code = subprocess.call(sys.argv[1:])
names, values = re.findall("^Ip: (.*)$", pathlib.Path("/proc/net/snmp").read_text(), re.M)
unsent = dict(zip(names.split(), values.split()))["OutNoRoutes"]
unsent6 = re.search("Ip6OutNoRoutes *(.*)", pathlib.Path("/proc/net/snmp6").read_text()).group(1)
print("code", code, "unsent", int(unsent), int(unsent6))
"""


def alone(words: list[str], folder: Path) -> str:
    """Runs a command in a network of its own, with a loopback device and nothing else."""
    return subprocess.run(
        ["unshare", "--net", "--map-root-user", sys.executable, "-c", ALONE, *words],
        cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        encoding="utf-8", check=False,
    ).stdout.splitlines()[-1]  # fmt: skip


def test_a_run_asks_nobody_outside(tmp_path: Path) -> None:
    """Where a network swallows packets, a node that asks for something hangs without a word."""
    asks = "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'', ('192.0.2.1', 53))"
    assert alone([sys.executable, "-c", asks], tmp_path) == "code 1 unsent 1 0"
    settings = SMALL_CONFIG.replace("epochs: 4", "epochs: 1").replace("0.5}", "0.0}")
    (tmp_path / "config.yaml").write_text(settings)
    assert alone([*command("run"), "--config", "config.yaml"], tmp_path) == "code 0 unsent 0 0"


def test_there_are_enough_of_them() -> None:
    losses = sum(len(commands) for _, commands in LOSSES.values())
    assert len(ACTS) + len(STREAMS) + losses >= 120
