"""SchemaGen's and ExampleValidator's executors on statistics as StatisticsGen writes them."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow_data_validation as tfdv
from tfx.types import artifact_utils, standard_artifacts

from darkroom.components.base import features
from darkroom.components.base.errors import DarkroomError
from darkroom.components.base.settings import SchemaGenSettings
from darkroom.components.validation import artifacts, example_validator, schema_gen, statistics
from darkroom.components.validation.statistics import SplitStatistics

CLASSES = ("cat", "dog", "owl")
ANGLE = f"{features.TARGET_PREFIX}angle"


def images(
    count: int = 300,
    classes: tuple[str, ...] = CLASSES,
    shares: tuple[float, ...] | None = None,
    brightness: float = 0.5,
    height: int = 32,
    contrast: float = 0.2,
    seed: int = 0,
) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    labels = generator.choice(classes, count, p=shares)
    labels[: len(classes)] = classes  # each is there
    return pd.DataFrame(
        {
            features.LABEL_KEY: labels,
            features.FORMAT_KEY: ["JPEG"] * count,
            features.HEIGHT_KEY: [height] * count,
            features.WIDTH_KEY: [32] * count,
            features.CHANNELS_KEY: [3] * count,
            features.BIT_DEPTH_KEY: [8] * count,
            features.ENCODED_SIZE_KEY: generator.integers(900, 1000, count),
            features.ASPECT_RATIO_KEY: [32 / height] * count,
            features.BRIGHTNESS_KEY: np.clip(generator.normal(brightness, 0.05, count), 0, 1),
            features.CONTRAST_KEY: np.full(count, contrast),
        }
    )


class House:
    """Runs the two nodes on given images, each run's artifacts in a folder of its own."""

    def __init__(self, folder: Path):
        self._folder, self._runs = folder, 0
        self.last: Any = None

    def run(self, schema_text: str = "", **splits: pd.DataFrame) -> list[str]:
        """The anomalies in words."""
        self._runs += 1
        counted = self._artifact(standard_artifacts.ExampleStatistics, list(splits))
        for name, frame in splits.items():
            targets = features.target_names(frame.columns)
            proto = tfdv.generate_statistics_from_dataframe(frame, statistics.options(targets))
            path = Path(counted.uri) / f"Split-{name}" / "FeatureStats.pb"
            path.parent.mkdir(parents=True)
            path.write_bytes(proto.SerializeToString())
        written = self._artifact(standard_artifacts.Schema)
        Path(written.uri).mkdir(parents=True)
        schema_gen.Executor().Do(
            {"statistics": [counted]},
            {"schema": [written]},
            {
                "custom_config": SchemaGenSettings(
                    schema_text=schema_text, multi_label=False, target_keys=targets
                ).model_dump_json()
            },
        )
        assert artifacts.is_inferred(written.mlmd_artifact) == (not schema_text)
        self.schema = (Path(written.uri) / "schema.pbtxt").read_text()
        anomalies = self._artifact(standard_artifacts.ExampleAnomalies)
        previous = [self.last] if self.last is not None else []
        self.last = counted
        inputs = {"statistics": [counted], "schema": [written], "previous_statistics": previous}
        example_validator.Executor().Do(inputs, {"anomalies": [anomalies]}, {})
        for name in artifact_utils.decode_split_names(anomalies.split_names):
            assert (Path(anomalies.uri) / f"Split-{name}" / "SchemaDiff.pb").exists()
        return artifacts.anomalies(anomalies.mlmd_artifact)

    def complaint(self, schema_text: str = "", **splits: pd.DataFrame) -> str:
        with pytest.raises(DarkroomError) as caught:
            self.run(schema_text, **splits)
        return str(caught.value)

    def _artifact(self, kind: Any, splits: list[str] | None = None) -> Any:
        artifact = kind()
        artifact.uri = str(self._folder / str(self._runs) / kind.TYPE_NAME)
        if splits:
            artifact.split_names = artifact_utils.encode_split_names(splits)
        return artifact


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_good_data_has_no_anomalies(house: House) -> None:
    assert house.run(train=images(), eval=images(100, seed=1), test=images(100, seed=2)) == []
    assert house.run(train=images(seed=3), eval=images(100, seed=4)) == []


def test_the_inferred_schema_tells_classes_ranges_and_comparators(house: House) -> None:
    house.run(train=images(), eval=images(height=48, seed=1))
    inferred = {f.name: f for f in tfdv.load_schema_text(self_written(house)).feature}
    label = inferred[features.LABEL_KEY]
    assert list(label.string_domain.value) == list(CLASSES)
    assert list(label.annotation.tag) == ["min_images_per_class=1"]
    assert label.skew_comparator.infinity_norm.threshold == pytest.approx(0.1)
    height = inferred[features.HEIGHT_KEY].int_domain
    assert (height.min, height.max) == (32, 48)  # of all splits
    brightness = inferred[features.BRIGHTNESS_KEY].float_domain
    assert 0.2 < brightness.min < 0.5 < brightness.max < 0.8
    assert inferred[features.IMAGE_KEY].presence.min_fraction == 1


def self_written(house: House) -> str:
    path = house._folder / "schema.pbtxt"
    path.write_text(house.schema)
    return str(path)


def test_more_classes_than_tfdv_counts(house: House) -> None:
    many = tuple(f"class {number:03}" for number in range(150))
    assert house.run(train=images(3000, many), eval=images(3000, many, seed=1)) == []
    assert house.schema.count("class ") == 150


def test_what_no_schema_can_allow(house: House) -> None:
    text = house.complaint(train=images(), eval=images(50, ("cat", "zebra")))
    assert "The eval split has images of 'zebra', of which the train split has none" in text
    assert "it has 'cat', 'dog', 'owl'" in text
    text = house.complaint(train=images(50, ("cat",)), eval=images(50, ("cat",)))
    assert "The train split has a single class, 'cat'" in text


def test_your_own_schema_is_a_gate(house: House) -> None:
    assert house.run(train=images(), eval=images(100, seed=1)) == []
    own = house.schema
    assert house.run(own, train=images(seed=5), eval=images(100, seed=6)) == []

    def complaint(text: str = own, **train: Any) -> str:
        house.last = None
        frames = {"train": images(**train), "eval": images(**{**train, "count": 100, "seed": 8})}
        return house.complaint(text, **frames)

    text = complaint(classes=(*CLASSES, "zebra"))
    assert "image/class/text is 'zebra' in the train split" in text
    assert "the schema allows 'cat', 'dog', 'owl'" in text
    assert text.endswith("Mend the data, or edit the schema at data.schema_path.")
    text = complaint(classes=("cat", "dog"))
    assert "The train split has 0 of 'owl'; the schema asks for at least 1 of each class." in text
    text = complaint(height=64)
    assert "image/height is 64 to 64 in the train split; the schema allows 32 to 32." in text
    assert "image/brightness is" in complaint(brightness=0.95)
    fewest = own.replace("min_images_per_class=1", "min_images_per_class=60")
    text = complaint(fewest)
    assert "The eval split has " in text
    assert "the schema asks for at least 60 of each class" in text


def test_skew_between_splits(house: House) -> None:
    uneven = images(300, shares=(0.8, 0.1, 0.1), seed=1)
    [sentence] = house.run(train=images(), eval=uneven)
    assert sentence.startswith("'cat' is ")
    assert "of the eval split and " in sentence
    assert sentence.endswith("of the train split; the schema allows a difference of 10.0%.")
    house.last = None
    sentences = house.run(train=images(), eval=images(brightness=0.8, seed=1))
    assert any(
        s.startswith("image/brightness of the eval split (mean ")
        and "distributed otherwise than in the train split (mean 0." in s
        for s in sentences
    )
    own = house.schema
    house.last = None
    assert "image/brightness of the eval split" in house.complaint(
        own, train=images(), eval=images(brightness=0.8, seed=1)
    )


def test_drift_from_the_last_run(house: House) -> None:
    assert house.run(train=images(), eval=images(100, seed=1)) == []
    darker = {"train": images(brightness=0.2), "eval": images(100, brightness=0.2, seed=1)}
    sentences = house.run(**darker)
    assert any(
        "image/brightness of the train split" in s and "otherwise than in the last run" in s
        for s in sentences
    )
    assert house.run(**darker) == []


def test_a_dead_camera_is_noted(house: House) -> None:
    train = images()
    train.loc[:4, features.CONTRAST_KEY] = 0.0
    sentences = house.run(train=train, eval=images(100, seed=1))
    assert "5 images of the train split are of a single colour." in sentences


def test_a_schema_that_is_none(house: House) -> None:
    frames = {"train": images(), "eval": images(50, seed=1)}
    text = house.complaint("feature { nome: 'x' }", **frames)
    assert "data.schema_path: not a schema in protobuf's text format" in text
    text = house.complaint("feature { name: 'image/encoded' type: BYTES }", **frames)
    assert "the schema lacks image/class/text" in text


def test_counts_are_light(house: House) -> None:
    house.run(train=images(), eval=images(50, seed=1))
    train = SplitStatistics.read(house.last.uri, "train")
    assert train.images == 300
    assert train.classes == dict(images()[features.LABEL_KEY].value_counts())
    assert train.features.keys() == {
        *statistics.TEXT,
        *features.INTEGERS,
        *features.FLOATS,
    }


def test_a_schema_of_other_labels(house: House) -> None:
    house.run(train=images(), eval=images(seed=1))
    several = re.sub(r"shape \{[^}]*\}\s*\}", "", house.schema)
    text = house.complaint(several, train=images(), eval=images(seed=1))
    assert "image/class/text has no shape there, as where data.multi_label is true" in text


def measured(angles: np.ndarray) -> pd.DataFrame:
    frame = images(len(angles)).drop(columns=features.LABEL_KEY)
    return frame.assign(**{ANGLE: angles})


def test_numbers_have_ranges_and_drift(house: House) -> None:
    angles = np.random.default_rng(0).uniform(-60, 60, (4, 300))
    assert house.run(train=measured(angles[0]), eval=measured(angles[1])) == []
    assert "image/target/angle" in house.schema
    turned = measured(angles[3] / 3 + 40)
    drift, *_ = house.run(train=turned, eval=measured(angles[2] / 3 + 40))
    assert drift.startswith("image/target/angle of the train split (mean 39.8")
    text = house.schema.replace("image/target/angle", "image/target/other")
    words = "the schema lacks image/target/angle"
    assert words in house.complaint(text, train=turned, eval=turned)


def test_a_constant_number_ends_the_run(house: House) -> None:
    words = house.complaint(train=measured(np.full(30, 7.0)), eval=measured(np.arange(30.0)))
    assert words.startswith("angle is 7 in every image of the train split: there is nothing to")
