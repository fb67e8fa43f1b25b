"""The BentoML service of serve.py: the same SavedModel and the same JSON, with adaptive batching.

Run by serve.py with an interpreter that has BentoML and TensorFlow.
"""

import base64
import os
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import bentoml


@bentoml.service(
    workers=1,
    traffic={"timeout": 30, "max_concurrency": 256},
    logging={"access": {"enabled": False}},  # a line for each request, which costs
)
class Cifar10:
    """Images to classes and scores; one process, so that nothing is sent on to another."""

    def __init__(self) -> None:
        """Loads the model."""
        import tensorflow as tf

        self._tf = tf
        self._serve = tf.saved_model.load(os.environ["MODEL"]).signatures["serving_default"]

    @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=1000)
    def predict(self, instances: list[dict[str, str]]) -> list[dict[str, Any]]:
        """Answers the images of several requests."""
        images = [base64.b64decode(instance["b64"]) for instance in instances]
        answer = self._serve(image_bytes=self._tf.constant(images))
        classes = answer["classes"].numpy().astype(str).tolist()
        return [
            {"classes": names, "scores": values}
            for names, values in zip(classes, answer["scores"].numpy().tolist(), strict=True)
        ]
