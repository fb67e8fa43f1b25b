import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from darkroom.components.base import tfrecord
from darkroom.components.base.errors import DarkroomError
from darkroom.pipeline.config import Config, load
from darkroom.pipeline.ingest import versions
from darkroom.pipeline.ingest.index import Settings, write_settings
from darkroom.pipeline.running import preflight
from tests.conftest import encoded


@pytest.fixture
def config(tmp_path: Path) -> Config:
    for split in ("train", "eval"):
        (tmp_path / split).mkdir()
        values = {"image/encoded": b"x", "image/class/text": b"cat"}
        tfrecord.write(tmp_path / split / "a.tfrecord", [tfrecord.encode_example(values)])
    return configuration(tmp_path)


def configuration(folder: Path | str, *overrides: str) -> Config:
    return load("mnist", [f"data.path={folder}", "data.splits.eval=eval/*", *overrides])


def complaint(config: Config) -> str:
    with pytest.raises(DarkroomError) as caught:
        preflight.check(config)
    return str(caught.value)


def test_good_data_passes_and_is_measured(config: Config) -> None:
    files = Path(config.data_path).glob("*/*")
    assert preflight.check(config) == sum(file.stat().st_size for file in files)
    assert preflight.data_bytes(config) == preflight.check(config)
    assert preflight.data_bytes(configuration(f"{config.data_path}/nowhere")) == 0


def test_a_missing_folder(tmp_path: Path) -> None:
    text = complaint(configuration(tmp_path / "nowhere"))
    assert "nowhere doesn't exist" in text
    assert "--set data.path" in text


def test_a_file_where_a_folder_is_expected(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "expected a folder" in complaint(configuration(tmp_path / "file"))


def test_an_empty_folder(tmp_path: Path) -> None:
    assert "nothing in it" in complaint(configuration(tmp_path))


def test_a_split_without_files(config: Config) -> None:
    text = complaint(configuration(config.data_path, "data.splits.eval=test/*"))
    assert "No files for the eval split" in text
    assert "eval, train" in text


@pytest.mark.parametrize(
    ("pattern", "folder"),
    [
        ("day-{YYYY}{MM}{DD}/*", "day-20261127"),
        ("day-{SPAN}/v{VERSION:2}/[a-c].tf*", "day-7/v03"),
        ("{YYYY}-{MM}-{DD}/?.tfrecord", "2026-11-27"),
    ],
)
def test_days_and_spans_are_numbers(
    config: Config, tmp_path: Path, pattern: str, folder: str
) -> None:
    good = tmp_path / folder
    good.parent.mkdir(exist_ok=True)
    (tmp_path / "train").rename(good)
    dated = configuration(tmp_path, f"data.splits.train='{pattern}'")
    preflight.check(dated)
    wrong = good.parent / re.sub(r"\d+", "new", good.name)
    shutil.copytree(good, wrong)
    text = complaint(dated)
    assert f"{wrong}/a.tfrecord has no number where it has {{SPAN}}" in text


@pytest.mark.parametrize("place", ["hat", "train/hat", "train"])
def test_a_folder_of_images_needs_to_be_ingested(tmp_path: Path, place: str) -> None:
    folder = tmp_path / "my photos"
    (folder / place).mkdir(parents=True)
    (folder / place / "a.JPG").write_bytes(encoded(np.zeros((4, 4, 3), np.uint8), "JPEG"))
    text = complaint(configuration(folder))
    assert f"darkroom ingest '{folder}' data/images" in text


def test_empty_files(config: Config) -> None:
    (Path(config.data_path) / "eval" / "a.tfrecord").write_bytes(b"")
    assert "eval split is empty" in complaint(config)


def test_a_file_that_is_no_tfrecord(config: Config) -> None:
    (Path(config.data_path) / "train" / "README.md").write_text("# About these images\n")
    assert "README.md: not a TFRecord file" in complaint(config)


def test_a_split_of_which_no_record_is_whole(config: Config) -> None:
    path = Path(config.data_path) / "train" / "a.tfrecord"
    path.write_bytes(path.read_bytes()[:-3])
    assert "train split is empty" in complaint(config)


def test_records_that_are_no_examples(config: Config) -> None:
    tfrecord.write(Path(config.data_path) / "train" / "a.tfrecord", [b"\xff\xff\xff"])
    assert "not a tf.Example" in complaint(config)


def test_a_key_that_is_not_there_names_those_that_are(config: Config) -> None:
    text = complaint(configuration(config.data_path, "data.label_key=image/class/label"))
    assert "data.label_key is 'image/class/label'" in text
    assert "they have image/class/text, image/encoded" in text
    assert "Did you mean 'image/class/text'?" in text


def test_a_key_of_another_type(config: Config) -> None:
    def found(**overrides: object) -> str:
        values = {"image/encoded": b"x", "image/class/text": b"cat", "h": 3, **overrides}
        tfrecord.write(
            Path(config.data_path) / "train" / "a.tfrecord", [tfrecord.encode_example(values)]
        )
        return complaint(config)

    text = found(**{"image/class/text": 0.5})
    assert (
        "data.label_key is 'image/class/text', expected bytes or int64 there, found float" in text
    )
    text = found(**{"image/encoded": 0.5})
    assert "data.image_key is 'image/encoded', expected bytes there, found float" in text
    assert "Set data.form to float32" in text


def test_pixels_need_their_shapes_features(config: Config) -> None:
    text = complaint(
        configuration(config.data_path, "data.form=uint8", "data.shape_keys=[height, width]")
    )
    assert "data.shape_keys.0 is 'height', which its examples don't have" in text


def test_files_that_the_configuration_names(config: Config, tmp_path: Path) -> None:
    missing = tmp_path / "names.txt"
    text = complaint(configuration(config.data_path, f"data.class_names={missing}"))
    assert f"data.class_names: {missing} can't be read: No such file" in text
    text = complaint(configuration(config.data_path, f"data.schema_path={missing}"))
    assert f"data.schema_path: {missing} can't be read" in text


@pytest.mark.parametrize("text", ["", " \n\t\n", "# a schema\n\n  # to come"])
def test_an_empty_file_is_not_none(config: Config, tmp_path: Path, text: str) -> None:
    path = tmp_path / "file"  # such as a failed command > file leaves
    path.write_text(text)
    found = complaint(configuration(config.data_path, f"data.schema_path={path}"))
    assert f"data.schema_path: {path} is empty, expected a schema in protobuf's text" in found
    if not text.strip():
        found = complaint(configuration(config.data_path, f"data.class_names={path}"))
        assert f"data.class_names: {path} is empty, expected the name of a class" in found


def test_what_a_killed_ingest_had_whole_is_put_in_place(config: Config) -> None:
    data, settings = Path(config.data_path), Settings(eval_share=0.1, test_share=0)
    incoming = versions.begin(data)
    [shard, *_] = sorted((data / "train").iterdir())
    (incoming / "train" / "2.tfrecord").write_bytes(shard.read_bytes())
    preflight.check(config)
    assert not (data / "train" / "2.tfrecord").exists()  # it wasn't whole
    write_settings(incoming, settings)
    preflight.check(config)
    assert (data / "train" / "2.tfrecord").exists()
    assert not incoming.exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [("gone.weights.h5", "gone.weights.h5 isn't there"),
     ("", "saved_model.pb isn't there"),
     ("model.onnx", "expected imagenet, a .weights.h5 or .keras file")],
)  # fmt: skip
def test_weights_that_are_not_there(config: Config, tmp_path: Path, name: str, words: str) -> None:
    text = complaint(configuration(config.data_path, f"model.weights={tmp_path / name}"))
    assert text.startswith("model.weights: ")
    assert words in text


def test_a_build_fn_that_is_not_there_is_found_before_anything_runs(config: Config) -> None:
    text = complaint(configuration(config.data_path, "model.build_fn=nowhere.build_model"))
    assert "'nowhere', which can't be found" in text


def test_a_hidden_file_that_beam_would_read_is_seen(config: Config) -> None:
    (Path(config.data_path) / "train" / ".DS_Store").write_bytes(b"\0\0\0\1Bud1" * 4)
    assert ".DS_Store: not a TFRecord file" in complaint(config)


def test_a_folder_that_beam_takes_for_a_pattern(config: Config, tmp_path: Path) -> None:
    Path(config.data_path).rename(tmp_path.parent / f"{tmp_path.name} [1]")
    text = complaint(configuration(tmp_path.parent / f"{tmp_path.name} [1]"))
    assert "Rename the folder" in text


def test_the_users_code_is_found_and_traced_before_anything_runs(config: Config) -> None:
    folder = Path(config.data_path)
    for key in ("preprocessing.image_fn", "model.input_layer"):
        text = complaint(configuration(folder, f"{key}=tests.users_code.InNumpi"))
        assert text.startswith(f"{key}: the module 'tests.users_code' has no function or class")
        assert "Did you mean 'InNumpy'?" in text
    good = ("preprocessing.image_fn=tests.users_code.negative", "model.input_layer=")
    preflight.rehearse(configuration(folder, *good))
    for bad in ("preprocessing.image_fn=tests.users_code.in_numpy",
                "model.input_layer=tests.users_code.InNumpy"):  # fmt: skip
        with pytest.raises(DarkroomError, match="failed while it was traced to a graph"):
            preflight.rehearse(configuration(folder, bad))


def test_weights_that_can_not_be_downloaded_are_said_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # where nobody answers
    sizes = ("preprocessing.height=48", "preprocessing.width=48")
    config = load("fruits", ["model.name=VGG19", *sizes])
    words = (
        r"of VGG19 can't be downloaded. Put the file vgg19\S+notop.h5 of keras.applications into"
    )
    with pytest.raises(DarkroomError, match=words):
        preflight.rehearse(config)
