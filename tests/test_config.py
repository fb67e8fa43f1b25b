import ast
import contextlib
import inspect
import itertools
import json
import re
import textwrap
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from darkroom.components.base.errors import ConfigurationError, DarkroomError
from darkroom.components.base.sections import Range
from darkroom.pipeline import config
from darkroom.pipeline.config import Config, load
from tests.conftest import darkroom


@pytest.mark.parametrize("path", sorted(config.CONFIGS.glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_configurations_load(path: Path) -> None:
    assert load(path).name == path.stem.replace("_", "-")
    assert load(path.stem) == load(path)


def test_defaults_come_from_the_tree() -> None:
    loaded = load("mnist")
    assert loaded.model.kernel_size == Config.model_fields["model"].default.kernel_size
    assert loaded.data.splits.train == "train/*"


def test_every_key_has_a_sentence() -> None:
    def sections(section: type) -> list[type]:
        nested = [f.annotation for f in section.model_fields.values()]  # type: ignore[attr-defined]
        below = [s for n in nested if hasattr(n, "model_fields") for s in sections(n)]
        return [section, *below]

    for section in [*sections(Config), Range]:
        [tree] = ast.parse(textwrap.dedent(inspect.getsource(section))).body
        assert isinstance(tree, ast.ClassDef)
        for key, sentence in itertools.pairwise(tree.body):
            if isinstance(key, ast.AnnAssign) and ast.unparse(key.target) not in (
                "name",
                "_chosen",
            ):
                assert isinstance(sentence, ast.Expr), f"{section.__name__}.{ast.unparse(key)}"
                assert isinstance(ast.literal_eval(sentence.value), str)


def test_overrides_are_yaml() -> None:
    loaded = load("digits", ["training.learning_rate=1e-3", "model.filters=[8, 16]", "name=other"])
    assert loaded.training.learning_rate == 0.001
    assert loaded.model.filters == [8, 16]
    assert loaded.home.name == "other"


def test_a_date_of_yaml_is_kept_as_text() -> None:
    assert load("digits", ["airflow.start_date=2026-02-28"]).airflow.start_date == "2026-02-28"
    moment = load("digits", ["airflow.start_date=2026-02-28 06:30:00"]).airflow.start_date
    assert moment == "2026-02-28T06:30:00"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.epocs=3", ["training.epocs", "unknown key", "Did you mean 'epochs'?"]),
        ("training.epochs=ten", ["training.epochs", "expected a valid integer", "found 'ten'"]),
        ("training.epochs=0", ["training.epochs", "greater than or equal to 1", "found 0"]),
        ("model.units=64", ["model.units: expected a list, such as [64], found 64."]),
        ("trainning.epochs=3", ["trainning", "unknown key", "Did you mean 'training'?"]),
        ("model.name=ResNet50v2", ["model.name", "no such model", "Did you mean 'ResNet50V2'?"]),
        ("model.name=VGG16", ["preprocessing", "at least 32×32", "found 8×8"]),
        ("preprocessing.channels=2", ["preprocessing.channels", "1 or 3", "found 2"]),
        ("name=My Model", ["name", "found 'My Model'"]),
        ("data.path=x", ["data: path is x and bundled is digits: set one of them to null"]),
        ("serving.rollout=blue", ["serving.rollout", "'immediate' or 'canary'", "found 'blue'"]),
        ("serving.keep_versions=0", ["serving.keep_versions", "greater than or equal to 1"]),
        ("serving.batching.allowed_batch_sizes=[8, 4]", ["rising order, found [8, 4]"]),
        ("serving.batching.allowed_batch_sizes=[8, 32]",
         ["the last to be max_batch_size, 64, found 32"]),
        ("serving.batching.allowed_batch_sizes=[0, 64]", ["allowed_batch_sizes", "found 0"]),
        ("training.strategy=parameter_server", ["'mirrored' or 'multi_worker'"]),
        ("tuner.max_trials=0", ["tuner.max_trials", "greater than or equal to 1", "found 0"]),
        ("tuner.max_trials=null", ["random needs a number of trials, such as 10"]),
        ("tuner.epochs=0", ["tuner.epochs", "greater than or equal to 1", "found 0"]),
        ("tuner.iterations=0", ["tuner.iterations", "greater than or equal to 1"]),
        ("tuner.algorithm=hyperbant", ["tuner.algorithm", "'hyperband'", "found 'hyperbant'"]),
        ("tuner.objective=val_acuracy",
         ["no metric of the network; there are val_accuracy, val_loss", "Did you mean"]),
        ("tuner.folds=1", ["tuner.folds", "greater than or equal to 2"]),
        ("tuner.folds=3\ntuner.carry_over=checkpoint", ["with tuner.folds there is none"]),
        ("tuner.carry_over=checkpoint\ntraining.epochs=5", ["epochs is 5", "nothing left"]),
        ("tuner.carry_over=checkpoint\ntuner.carry_epochs=true", ["nothing left", "one of"]),
        ("training.warmup_epochs=6", ["warmup_epochs is 6", "end within it"]),
        ("tuner.algorithm=list", ["name the trials' values in tuner.trials"]),
        ("model.units=[-1]", ["model.units.0", "greater than or equal to 0"]),
        ("model.head=sigmoid", ["model.head", "'multi-label' or 'regression'", "found 'sigmoid'"]),
        ("training.warmup_epochs=20", ["warmup_epochs is 20", "the 20 training.epochs"]),
        ("training={starts: 2, start_epochs: 30, epochs: 9}", ["start_epochs is 30", "than the 9"]),
        ("training={starts: 2}\nmodel={weights: a.keras}", ["for random weights; model.weights"]),
        ("transfer.mode=similar", ["transfer.mode is similar, which needs model.weights"]),
        ("model={build_fn: a.b, backbone_fn: a.c}", ["two ways to a network of yours: set one"]),
        ("model={backbone_fn: a.c, weights: imagenet}", ["imagenet is for", "backbone_fn a.c"]),
        ("model.build_fn=a.b\naugmentation.mixup=0.2", ["shares of classes", "model.build_fn"]),
        ("model={build_fn: a.b, image_size: [8, 8]}", ["resize in model.build_fn instead"]),
        ("augmentation.cutmix=1.0\nmodel.weights=a.keras\ntransfer.mode=similar",
         ["keeps the frozen backbone's outputs", "mode to distinct"]),
        ("model={stem: whitened, name: dense}", ["stem is whitened, which is for model.name cnn"]),
        ("model.build_fn=a.b\ntraining.loss=focal", ["training.loss is for the networks of"]),
        ("training.loss=focal\ntuner.objective=val_loss\ntuner.direction=min\n"
         "tuner.space.training.focal_gamma={min: 1.0, max: 4.0}",
         ["focal_gamma is searched: losses of different kinds can't be compared"]),
        ("training={loss: hinge, label_smoothing: 0.1}", ["found hinge"]),
        ("tuner.space.training.loss={choices: [focal, a.b]}", ["name it in training.loss"]),
        ("training.loss=Meansquarederror", ["your own by dotted path", "Did you mean 'MeanSqu"]),
        ("training.loss=SquaredHinge", ["SquaredHinge is for model.head binary and multi-label"]),
        ("training.class_weights=balancd", ["weights from 0 up by class", "found balancd"]),
        ("training.class_weights={cat: -1}", ["as in {cat: 3}, found {'cat': -1}"]),
        ("model.weights=imagenet", ["architectures of keras.applications", "model.name cnn"]),
        ("model={weights: a.keras, build_fn: a.b}", ["load weights in model.build_fn, or set"]),
        ("transfer={scratch_epochs: 40}", ["scratch_epochs is 40, more than the 20"]),
        ("lr_scan={min: 0.1, max: 0.01}", ["lr_scan", "min below max, found 0.1 and 0.01"]),
        ("name=2024-13-01", ["not valid YAML"]),
        ("data.splits.train=/train/*", ["data.splits.train", "found '/train/*'"]),
        ("data.splits.train='{YYYY}-{MM}/*'", ["all of {YYYY}, {MM} and {DD}"]),
        ("data.splits.eval='{SPAN}/{YYYY}{MM}{DD}/*'", ["either {SPAN} or a date"]),
        ("data.splits.eval='{SPAN}/{SPAN}/*'", ["each of its places once"]),
        ("data.splits.eval='{VERSION:2}/*'", ["{SPAN} or a date beside {VERSION}"]),
        ("data.splits.test='{span}/*'", ["{SPAN}", "instead of {span}"]),
        ("training.epochs", ["expected dotted.key=value"]),
        ("training.epochs={", ["not valid YAML"]),
        ("name.x.y=3", ["name holds a value"]),
    ],
)  # fmt: skip
def test_a_wrong_value_is_a_sentence(override: str, words: list[str]) -> None:
    with pytest.raises(DarkroomError) as caught:
        load("digits", override.splitlines())
    for word in words:
        assert word in str(caught.value)


def test_several_labels_need_a_sigmoid_for_each_class() -> None:
    assert load("digits", ["data.multi_label=true"]).model.head == "softmax"
    for override in ("model.head=binary", "tuner.space.model.head={choices: [softmax, binary]}"):
        with pytest.raises(DarkroomError, match=r"model\.head: .*data\.multi_label"):
            load("digits", ["data.multi_label=true", override])


def test_the_file_and_all_problems_are_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\ndata: {path: x}\ntraining: {epocs: 3, batch_size: -1}\n")
    with pytest.raises(DarkroomError) as caught:
        load(path)
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"{path}: training.") for line in lines)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a: [1, 2", ["line 1", "not valid YAML"]),
        ("- a\n- b\n", ["expected keys and values", "found a list"]),
        ("name: x\n", ["data: missing"]),
        ("", ["name: missing"]),
    ],
)
def test_an_unreadable_file_is_a_sentence(tmp_path: Path, content: str, words: list[str]) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(content)
    with pytest.raises(DarkroomError) as caught:
        load(path)
    for word in [str(path), *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: a\nname: b", "line 2, column 1: not valid YAML: the key name stands twice."),
        ("training: {epochs: 1, epochs: 2}", "line 1, column 23: not valid YAML: the key epochs"),
        ("tuner:\n  space:\n    a.b: {min: 1}\n    a.b: {min: 2}", "line 4, column 5: .* key a.b"),
    ],
)
def test_a_key_that_stands_twice(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "twice.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=words):
        load(tmp_path / "twice.yaml")
    with pytest.raises(ConfigurationError, match="not valid YAML"):
        load("digits", ["training={epochs: 1, epochs: 2}"])


def test_what_an_anchor_shares_may_be_overridden(tmp_path: Path) -> None:
    text = """
        name: shared
        data: {bundled: digits}
        training: &all {epochs: 3, batch_size: 8}
        lr_scan: {epochs: 5}
    """
    (tmp_path / "shared.yaml").write_text(text)
    assert load(tmp_path / "shared.yaml").training.epochs == 3
    text = text.replace("{epochs: 5}", "{<<: {epochs: 4}, epochs: 5}")
    (tmp_path / "shared.yaml").write_text(text)
    assert load(tmp_path / "shared.yaml").lr_scan.epochs == 5


def test_several_values_of_the_command_line(tmp_path: Path) -> None:
    good, bad = "training.epochs=3", "training.batch_size=-1"
    for overrides in ([good, bad], [bad, good]):
        with pytest.raises(ConfigurationError) as caught:
            load("digits", overrides)
        assert str(caught.value).startswith(f"--set {bad}: training.batch_size: expected")
    # The file's own key is in the sentence, and the guilty one is not the file's.
    with pytest.raises(ConfigurationError, match=r"^--set training\.epochs=1: training\.warmup_ep"):
        load("cifar10_residual", ["training.batch_size=8", "training.epochs=1"])
    space = [
        "tuner.space.training.batch_size={choices: [8, 16]}",
        "tuner.space.training.learning_rate={min: 1e-4, max: 1e-2, sampling: log}",
    ]
    searched = load("digits", space).tuner.space
    assert {"training.batch_size", "training.learning_rate"} <= set(searched)
    assert searched["training.batch_size"].choices == [8, 16]


def test_a_missing_file_names_the_closest(tmp_path: Path) -> None:
    with pytest.raises(DarkroomError, match="Did you mean 'digits'"):
        load("digit")
    with pytest.raises(DarkroomError, match="found a folder"):
        load(tmp_path)


def test_a_wrong_configuration_fails_before_tensorflow_is_imported(tmp_path: Path) -> None:
    result = darkroom("run", "--set", "training.epocs=3", cwd=tmp_path)
    assert result.returncode == 2
    assert "Did you mean 'epochs'?" in result.stdout
    assert "Traceback" not in result.stdout
    assert not list(tmp_path.iterdir())


def test_every_configuration_opens_with_its_command() -> None:
    for path in config.CONFIGS.glob("*.yaml"):
        head = path.read_text().split("\nname:")[0]
        assert "darkroom run" in head, path
        assert re.search(r"accuracy 0\.\d", head), path
        assert re.search(r"accuracy \d\.\d", head), path


def test_the_shipped_configurations_set_no_default_again() -> None:
    def repeated(tree: dict, defaults: dict, prefix: str = "") -> list[str]:
        found = []
        for key, value in tree.items():
            if isinstance(value, dict) and isinstance(defaults.get(key), dict):
                found += repeated(value, defaults[key], f"{prefix}{key}.")
            elif key in defaults and defaults[key] == value:
                found.append(prefix + key)
        return found

    defaults = Config(name="x", data={"path": "x"}).model_dump()
    defaults["data"]["path"] = None
    for path in config.CONFIGS.glob("*.yaml"):
        assert repeated(yaml.safe_load(path.read_text()), defaults) == [], path


KEYS = ["name", "data.path", "training.epochs", "model.filters", "tuner.space.model.dropout", "x.y"]


@given(st.sampled_from(KEYS), st.text(max_size=20) | st.recursive(
    st.none() | st.booleans() | st.floats() | st.text("abc-:{}[]0123", max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcmin"), inner),
    max_leaves=4,
).map(str))  # fmt: skip
def test_any_override_loads_or_is_a_sentence(key: str, value: str) -> None:
    with contextlib.suppress(DarkroomError):
        load("digits", [f"{key}={value}"])


def test_a_folder_of_the_same_name_does_not_hide_a_shipped_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mnist").mkdir()
    assert load("mnist").name == "mnist"


def test_an_input_layer_is_for_our_own_networks() -> None:
    with pytest.raises(DarkroomError, match=r"input_layer is for the networks of model.name"):
        load("digits", ["model.build_fn=a.b", "model.input_layer=a.B"])


def evaluation(**changes: object) -> str:
    return f"evaluation={json.dumps(changes)}"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"thresholds": [{"metric": "acuracy", "min": 0.5}]}, "Did you mean 'accuracy'?"),
        ({"thresholds": [{"metric": "accuracy"}]}, "set a bound: min, max, max_drop or max_rise"),
        (
            {"thresholds": [{"metric": "recall", "min": 0.5}]},
            "recall is of a class: set class_name",
        ),
        (
            {"thresholds": [{"metric": "loss", "class_name": "a", "max": 0.5}]},
            "loss is of all classes together; of one there are precision, recall, f1, auc",
        ),
        ({"thresholds": [{"metric": "auc", "min": 80}]}, "auc is from 0 to 1, found 80"),
        (
            {"thresholds": [{"metric": "auc", "min": 0.9, "max": 0.5}]},
            "contradictory bounds: nothing is at least 0.9 and at most 0.5",
        ),
        (
            {"thresholds": [{"metric": "auc", "max": 0.5}, {"metric": "auc", "min": 0.9}]},
            "contradictory bounds in thresholds (or min_accuracy): no auc is at least 0.9",
        ),
        (
            {"thresholds": [{"metric": "loss", "max_drop": -0.2, "max_rise": 0.1}]},
            "contradictory bounds: nothing drops by at most -0.2 and rises by at most 0.1",
        ),
        (
            {"thresholds": [{"metric": "size_mib", "max": 5, "judged_by": "worst"}]},
            "size_mib is of the whole model",
        ),
        (
            {"thresholds": [{"metric": "auc", "slice": {"image/format": "png"}, "min": 0.5}]},
            "image/format is not in evaluation.slices, it is empty.",
        ),
        ({"slices": {"image/heigt": [1.0]}}, "Did you mean 'image/height'?"),
        (
            {"slices": {"image/height": []}},
            "such as [64, 256], found none",
        ),
        ({"slices": {"image/height": [2.0, 1.0]}}, "expected edges in rising order"),
        ({"metrics": {"auc": {"class_name": "AUC"}}}, "every evaluation has a metric of this name"),
        (
            {
                "metrics": {"mine": {"class_name": "AUC", "per_class": True}},
                "thresholds": [{"metric": "mine", "min": 0.5}],
            },
            "evaluation.metrics.mine.per_class is True: set class_name",
        ),
        ({"folds": 1}, "greater than or equal to 2"),
        ({"split": "test"}, "evaluation.split is test: set data.splits.test to its files"),
    ],
)
def test_a_gate_that_can_not_be_is_refused_on_load(changes: dict, expected: str) -> None:
    with pytest.raises(DarkroomError) as caught:
        load("digits", ["data.splits.test=null", evaluation(**changes)])
    assert expected in str(caught.value)
    assert ".." not in str(caught.value).replace("...", "")


def test_folds_need_one_machine_and_time() -> None:
    for other, expected in (
        ("training.minutes=5", "for which training.minutes leaves no time"),
        ("training.strategy=multi_worker", "set training.strategy to mirrored"),
    ):
        with pytest.raises(DarkroomError, match=r"evaluation.folds trains 3 models more") as caught:
            load("digits", ["evaluation.folds=3", "tuner.enabled=false", other])
        assert expected in str(caught.value)


def test_kept_features_can_slice() -> None:
    keep = "data.keep_features=[camera]"
    assert load("digits", [keep, evaluation(slices={"camera": []})]).evaluation.slices
    with pytest.raises(DarkroomError, match="camera is no feature"):
        load("digits", [evaluation(slices={"camera": []})])
    with pytest.raises(DarkroomError, match="image/height is kept anyway"):
        load("digits", ["data.keep_features=[image/height]"])


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.cpu_replicas=2", "training.cpu_replicas is 2; with strategy multi_worker"),
        ("training.jit_compile=true", "training.jit_compile: XLA can't compile"),
        ("root=gs://bucket/runs", "root: with training.strategy multi_worker a folder that all"),
        ("transfer.scratch_epochs=1", "transfer.scratch_epochs compares on one machine"),
    ],
)
def test_what_several_machines_can_t_do(override: str, words: str) -> None:
    load("digits", [override])
    with pytest.raises(DarkroomError, match=re.escape(words)):
        load("digits", [override, "training.strategy=multi_worker"])


def test_a_root_in_a_bucket_leaves_a_local_home(tmp_path: Path) -> None:
    overrides = ["root=gs://bucket/runs/", f"local_root={tmp_path}", "model.weights=gs://b/1"]
    loaded = load("digits", overrides)
    assert loaded.pipeline_root == "gs://bucket/runs/digits/artifacts"
    assert loaded.push_uri == "gs://bucket/runs/digits/pushed/digits"
    assert loaded.home == tmp_path / "digits"
    assert loaded.store.path == str(tmp_path / "digits" / "metadata.sqlite")
    assert loaded.unfinished_report("run").is_relative_to(tmp_path)
    assert loaded.model.weights == "gs://b/1"
    assert load("mnist", ["data.path=s3://b/images/"]).data_path == "s3://b/images"
    here = load("digits", [f"root={tmp_path}"])
    assert here.pipeline_root == str(tmp_path / "digits" / "artifacts")
    assert here.push_uri == str(here.push_path)


def test_a_test_split_judges_where_there_is_one() -> None:
    without, with_one = "data.splits.test=null", "data.splits.test=test/*"
    assert load("digits", [without]).judged.split == "eval"
    assert load("digits", [with_one]).judged.split == "test"
    assert load("digits", [with_one, "evaluation.split=eval"]).judged.split == "eval"


@pytest.mark.parametrize(
    ("overrides", "chosen"),
    [
        ([], ["epoch", "trial"]),
        (["tuner.enabled=false", "training.starts=2"], ["start", "epoch"]),
        (["tuner.folds=3"], ["epoch"]),  # the trial by the train split
        (["tuner.objective=accuracy", "tuner.direction=max"], ["epoch"]),
        (["training.export_epoch=last"], ["trial"]),
        (["training.export_epoch=last", "training.patience=2"], ["epoch", "trial"]),
        (["training.export_epoch=last", "tuner.enabled=false"], []),
        (["data.splits.test=test/*"], []),
        (["data.splits.test=test/*", "evaluation.split=eval"], ["epoch", "trial"]),
    ],
)
def test_what_the_images_that_judge_chose_before(overrides: list[str], chosen: list[str]) -> None:
    assert load("digits", ["data.splits.test=null", *overrides]).judges_chose == chosen


OF_NUMBERS = "data={bundled: digits, target: number, target_keys: [x, y]}"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("data.target=number", "data.target is number and data.target_keys are []"),
        ("data.target_keys=[x]", "data.target is class and data.target_keys are ['x']"),
        (f"{OF_NUMBERS}\ndata.target_keys=[x, x]", "data.target_keys: expected each once"),
        ("model.head=regression", "model.head: regression is for data.target number"),
        (f"{OF_NUMBERS}\nmodel.head=binary", "binary is for classes, and data.target is number"),
        (f"{OF_NUMBERS}\ndata.multi_label=true", "data.multi_label is for data.target class"),
        (f"{OF_NUMBERS}\ndata.class_names=a", "data.class_names is for data.target class"),
        (f"{OF_NUMBERS}\nmodel.build_fn=a.b", "of networks of yours a model.backbone_fn"),
        (f"{OF_NUMBERS}\naugmentation.mixup=0.2", "augmentation.mixup is for data.target class"),
        (f"{OF_NUMBERS}\naugmentation.cutmix=1", "augmentation.cutmix is for data.target class"),
        (f"{OF_NUMBERS}\ntraining.class_weights=balanced", "class_weights is for data.target"),
        (f"{OF_NUMBERS}\ntraining.label_smoothing=0.1", "label_smoothing is for data.target"),
        (f"{OF_NUMBERS}\nevaluation.min_class_recall=0", "min_class_recall is for data.target"),
        (f"{OF_NUMBERS}\nevaluation.metrics={{a: {{class_name: Recall}}}}", "evaluation.metrics"),
        (f"{OF_NUMBERS}\ntraining.loss=crossentropy",
         "model.head softmax, binary and multi-label, found regression: take one of MeanSquared"),
        (f"{OF_NUMBERS}\ntraining.monitor=val_accuracy", "there are val_mae and val_loss"),
        (f"{OF_NUMBERS}\nevaluation.thresholds=[{{metric: accuracy, min: 0}}]", "there are cover"),
        (f"{OF_NUMBERS}\nevaluation.slices={{image/target/x: []}}", "expected the edges of ranges"),
        (f"{OF_NUMBERS}\ntuner.enabled=true", "no metric of the network; there are val_mae"),
        (f"{OF_NUMBERS}\ntuner={{enabled: true, objective: val_mae, algorithm: list, "
         "trials: [{training.label_smoothing: 0.1}]}", "label_smoothing is for data.target class"),
        ("training.monitor=val_mae", "there are val_accuracy and val_loss"),
        ("training.interval=0.8", "training.interval is for data.target number"),
        ("evaluation.max_mae=3", "evaluation.max_mae is for data.target number"),
        ("evaluation.thresholds=[{metric: mae, max: 3}]", "no metric 'mae'"),
    ],
)  # fmt: skip
def test_what_is_of_classes_is_not_of_numbers(override: str, words: str) -> None:
    with pytest.raises(DarkroomError) as caught:
        load(
            "digits", ["tuner.enabled=false", "evaluation.min_accuracy=0.8", *override.split("\n")]
        )
    assert words in str(caught.value)


def test_numbers_have_a_head_a_gate_and_losses_of_their_own() -> None:
    usual = ["tuner.enabled=false", "evaluation.min_accuracy=0.8", OF_NUMBERS]
    config = load("digits", [*usual, "evaluation.max_mae=2"])
    assert config.network.head == "regression"
    gate = config.evaluation.gate(of_numbers=True)
    assert [(one.metric, one.min, one.max) for one in gate] == [("r2", 0.5, None), ("mae", None, 2)]
    for loss in ("MeanSquaredError", "MeanAbsoluteError", "Huber", "LogCosh"):
        assert load("digits", [*usual, f"training.loss={loss}"]).training.loss == loss
