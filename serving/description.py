"""What a SavedModel is: its signatures, parameters, classes, and how it was trained."""

import json
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypedDict

from darkroom.serving import imports
from darkroom.serving.contract import Contract
from darkroom.serving.predictor import PredictionError

if TYPE_CHECKING:
    from tensorflow.core.protobuf.meta_graph_pb2 import TensorInfo

FACTS_PATH = "assets.extra/training.json"  # below the model's folder, by the exporting Trainer


class Tensor(NamedTuple):
    """An input or output of a signature."""

    name: str
    dtype: str
    shape: list[int | None]  # None: any; of unknown rank: empty with dtype "?"


class Signature(NamedTuple):
    """A function that the model serves."""

    name: str
    method: str
    inputs: list[Tensor]
    outputs: list[Tensor]


class TrainingFacts(TypedDict, total=False):
    """How a model was trained; older models tell less."""

    network: str
    head: str
    examples: int
    trainable: int  # values in all variables that were trained
    epochs: int
    policy: str  # Keras's dtype policy that it was trained in
    exported_epoch: int  # from 1
    temperature: float  # that its logits are divided by
    deviations: list[float]  # of the numbers that it says, in which its metrics are
    metrics: dict[str, float]  # of that epoch
    settings: dict[str, object]  # the section training, and hyperparameters


class Description(NamedTuple):
    """A SavedModel in words and numbers."""

    path: str
    signatures: list[Signature]
    parameters: int  # values in all variables of the network
    classes: list[str]  # sorted; empty where the model doesn't tell
    facts: TrainingFacts  # empty where it doesn't tell


def describe(folder: Path) -> Description:
    """Reads a SavedModel without loading its graph; raises PredictionError where it isn't one."""
    path = folder / "saved_model.pb"
    if not path.is_file():
        raise PredictionError(
            f"{folder} is not a SavedModel: there is no saved_model.pb in it. Name the folder of a "
            "version, such as runs/digits/pushed/digits/1."
        )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with imports.without_collections():
            import tensorflow as tf
            from google.protobuf.message import DecodeError
            from tensorflow.core.protobuf import saved_model_pb2
    except ImportError as error:
        message = "Looking into a model needs TensorFlow: pip install 'darkroom-tfx[serving]'."
        raise PredictionError(message) from error
    model = saved_model_pb2.SavedModel()
    try:
        model.ParseFromString(path.read_bytes())
        served = next(g for g in model.meta_graphs if "serve" in g.meta_info_def.tags)
        variables = tf.train.list_variables(str(folder / "variables" / "variables"))
    except (DecodeError, StopIteration, tf.errors.OpError) as error:
        message = f"{folder} is not a SavedModel that can be served: {error}."
        raise PredictionError(message) from error
    return Description(
        str(folder),
        [
            Signature(name, own.method_name, _tensors(own.inputs), _tensors(own.outputs))
            for name, own in sorted(served.signature_def.items())
            if not name.startswith("__")
        ],
        sum(math.prod(shape) for name, shape in variables if _is_of_network(name)),
        sorted(Contract.read(folder).classes),
        read_facts(folder),
    )


def read_facts(folder: Path) -> TrainingFacts:
    """What is known of a SavedModel's training; nothing where another wrote it."""
    try:
        facts: TrainingFacts = json.loads((folder / FACTS_PATH).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return facts


def _tensors(named: "Mapping[str, TensorInfo]") -> list[Tensor]:
    import tensorflow as tf

    tensors = []
    for name, info in sorted(named.items()):
        shape = [None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim]
        tensors.append(Tensor(name, tf.as_dtype(info.dtype).name, shape))
    return tensors


def _is_of_network(name: str) -> bool:
    others = r"save_counter|_CHECKPOINT|.*(optimizer|seed_generator)"
    return name.endswith("VARIABLE_VALUE") and not re.match(others, name)
