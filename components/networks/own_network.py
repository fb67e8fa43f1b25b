"""A user's ``model.build_fn``, tried on noise before any data are read."""

import inspect
from collections.abc import Callable
from typing import Any

import keras
import keras_tuner
import numpy as np

from darkroom.components.base import user_code
from darkroom.components.base.errors import DarkroomError, UserCodeError
from darkroom.components.base.settings import NetworkSettings
from darkroom.components.networks import export, models

_IMAGES = 32  # of noise
_SUPPOSED = (10, 2)  # numbers of classes, where they aren't known
# Losses of Keras that a head's labels don't fit: class numbers, or 0 and 1 for each output.
_EXPECTED = {
    "softmax": "sparse_categorical_crossentropy, as labels are numbers of classes",
    "binary": "binary_crossentropy, as labels are 0 and 1",
    "multi-label": "binary_crossentropy, as labels are 0 and 1 for each class",
}


def try_out(config: NetworkSettings, num_classes: int | None) -> None:
    """Builds the network and computes its loss once.

    Where the number of classes isn't known, an error of the user's own counts only where it comes
    of several numbers. Raises a DarkroomError where the contract of ``models`` isn't kept.
    """
    path, head = config.model.build_fn, config.model.head
    assert path is not None
    build_fn = user_code.resolve(path, "model.build_fn")
    _check_arguments(build_fn, path, config)
    numbers = (num_classes,) if num_classes is not None else _SUPPOSED
    for number in (2,) if head == "binary" else numbers:
        try:
            names = [str(one) for one in range(number)]
            model = models.build_model(keras_tuner.HyperParameters(), config, names)
            break
        except UserCodeError as error:
            failed = error
    else:
        raise failed
    if model.loss is not None:  # else its train_step has one of its own
        _check_loss(model, f"model.build_fn: {path}", config, number)


def _check_arguments(build_fn: Callable[..., object], path: str, config: NetworkSettings) -> None:
    try:
        signature = inspect.signature(build_fn)
        signature.bind(keras_tuner.HyperParameters(), config, 2)
    except TypeError:
        raise DarkroomError(
            f"model.build_fn: expected {path} to take hp, config and num_classes, it takes "
            f"{signature}."
        ) from None
    except ValueError:  # no signature can be had of what is written in C
        return


def _check_loss(model: keras.Model, who: str, config: NetworkSettings, number: int) -> None:
    head, random = config.model.head, np.random.default_rng(0)
    size = (_IMAGES, *models.image_shape(config))
    images = random.normal(scale=3.0, size=size).astype(np.float32)
    each = (_IMAGES, number) if head == "multi-label" else (_IMAGES,)
    numbers = random.integers(number if head == "softmax" else 2, size=each)
    dtype = "float32" if head == "multi-label" else "int64"
    labels = keras.ops.convert_to_tensor(numbers, dtype)
    name = _of_keras(model.loss)
    sparse = name.startswith("sparse")
    if name and (sparse != (head == "softmax") or (head == "binary" and "categorical" in name)):
        raise DarkroomError(f"{who} is compiled with the loss {name}; expected {_EXPECTED[head]}.")
    outputs = user_code.call(lambda: model(images, training=False), who)
    user_code.call(
        lambda: model.compute_loss(x=images, y=labels, y_pred=outputs, training=False),
        f"{who}, its loss",
    )
    if not name.endswith("crossentropy"):
        return
    from_logits = bool(_config(model.loss).get("from_logits"))
    scores = export.gives_scores(model, head)
    last = "softmax" if head == "softmax" else "sigmoid"
    if from_logits and scores:
        raise DarkroomError(
            f"{who} ends in a {last}, and its loss has from_logits=True: it would learn little. "
            f"Take out the {last}, or from_logits."
        )
    if not from_logits and not scores and not _look_like_scores(np.asarray(outputs), head):
        raise DarkroomError(
            f"{who} gives logits, and its loss {name} takes them for probabilities. Compile it "
            f"with from_logits=True, or end it in a {last}."
        )


def _of_keras(loss: Any) -> str:
    """The name of one of Keras's losses; empty for a user's own."""
    if isinstance(loss, str):
        loss = keras.losses.get(loss)
    kind = loss if inspect.isfunction(loss) else type(loss)
    if not str(kind.__module__).startswith("keras."):
        return ""
    name: str = kind.__name__ if inspect.isfunction(loss) else _snake_case(kind.__name__)
    return name


def _snake_case(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


def _look_like_scores(outputs: np.ndarray, head: str) -> bool:
    if head == "softmax":
        return bool(np.allclose(outputs.sum(axis=-1), 1, atol=1e-2) and outputs.min() >= 0)
    return bool(outputs.min() >= 0 and outputs.max() <= 1)


def _config(loss: Any) -> dict[str, Any]:
    return loss.get_config() if isinstance(loss, keras.losses.Loss) else {}
