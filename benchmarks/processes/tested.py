"""The accuracy of a pushed version on TFRecords: ``tested.py VERSION FOLDER``, as JSON."""

import itertools
import json
import sys
from pathlib import Path

from darkroom.components.base import features, tfrecord
from darkroom.serving import description
from darkroom.serving.predictor import Predictor

_BATCH = 64


def main() -> None:
    """Asks the version about the images of all files of the folder."""
    version, folder = Path(sys.argv[1]), Path(sys.argv[2])
    predictor = Predictor(version)
    files = (tfrecord.read(file) for file in sorted(folder.iterdir()))
    examples = map(tfrecord.decode_example, itertools.chain.from_iterable(files))
    right = count = 0
    while batch := list(itertools.islice(examples, _BATCH)):
        answers = predictor.predict_all([each[features.IMAGE_KEY].values[0] for each in batch])
        labels = [each[features.LABEL_KEY].values[0].decode() for each in batch]
        right += sum(a.label == label for a, label in zip(answers, labels, strict=True))
        count += len(batch)
    network = description.describe(version).facts["network"]
    print(json.dumps({"accuracy": right / count, "tested_on": count, "network": network}))


if __name__ == "__main__":
    main()
