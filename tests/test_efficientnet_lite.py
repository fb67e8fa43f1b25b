import hashlib
import pickle
from pathlib import Path

import keras
import numpy as np
import pytest
from sklearn.datasets import load_sample_image

from darkroom.components.base.errors import DarkroomError
from darkroom.components.networks import architectures, efficientnet_lite, parts, torch_weights
from tests.test_models import RESCALE, build

NAMES = [f"EfficientNetLite{number}" for number in range(3)]
PALACE = 698  # of ImageNet's classes
_CLASSIFIER = "_fc"  # in the packages' files


def published(name: str) -> dict[str, np.ndarray]:
    size = efficientnet_lite._SIZES[name]
    return torch_weights.read(
        architectures.package_folder(name) / "models" / size.file, size.sha256
    )


@pytest.mark.parametrize("name", NAMES)
def test_it_knows_what_a_photograph_shows(name: str) -> None:
    photograph = load_sample_image("china.jpg")  # a palace, 427 by 640 pixels
    middle = keras.ops.image.resize(photograph[:, 106:533].astype("float32"), (224, 224))
    network = efficientnet_lite.build(name, "imagenet", (224, 224, 3))
    outputs = np.mean(network(middle[np.newaxis]), axis=(0, 1, 2))
    weights = published(name)
    logits = weights[f"{_CLASSIFIER}.weight"] @ outputs + weights[f"{_CLASSIFIER}.bias"]
    assert np.argmax(logits) == PALACE


def test_all_weights_of_the_file_are_in_the_network() -> None:
    network = efficientnet_lite.build("EfficientNetLite0", "imagenet", (64, 64, 3))
    in_classifier = 1280 * 1000 + 1000
    counted = sum(a.size for k, a in published("EfficientNetLite0").items() if "num_bat" not in k)
    assert network.count_params() == counted - in_classifier == 4_694_024 - in_classifier


def test_it_is_a_network_of_the_configuration() -> None:
    model = build("model.name=EfficientNetLite0", "model.weights=imagenet", *RESCALE)
    assert model(np.zeros((2, 32, 32, 3), "float32")).shape == (2, 5)
    assert model.name == "efficientnetlite0"
    inner = model.get_layer(parts.BACKBONE).get_layer("efficientnetlite0")
    stem = published("EfficientNetLite0")["_conv_stem.weight"]
    np.testing.assert_array_equal(inner.get_weights()[0], stem.transpose(2, 3, 1, 0))


def test_another_file_than_the_published_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"something else")
    with pytest.raises(DarkroomError, match=r"expected SHA-256 577cc, received [0-9a-f]{64}"):
        torch_weights.read(path, "577cc")


class _Harm:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('the file ran')",)


def test_nothing_in_a_file_is_run(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps(_Harm()))
    with pytest.raises(DarkroomError, match=r"other things than weights: builtins\.exec"):
        torch_weights.read(path, hashlib.sha256(path.read_bytes()).hexdigest())


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = architectures.Architecture("bytes", 32, "no-such-package")
    monkeypatch.setitem(architectures.ARCHITECTURES, "EfficientNetLite0", missing)
    words = r"of EfficientNetLite0 are in the package no-such-package.*darkroom-tfx\[pretrained\]"
    with pytest.raises(DarkroomError, match=words):
        architectures.package_folder("EfficientNetLite0")
