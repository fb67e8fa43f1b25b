"""A plain loop from class folders to one TFRecord file: PIL's verify, then TensorFlow's writer."""

import json
import sys
import time
from pathlib import Path

import tensorflow as tf
from PIL import Image


def main(source: Path) -> None:
    """Writes ``images.tfrecord`` in the current folder, and prints how long the loop took."""
    begin, count = time.monotonic(), 0
    with tf.io.TFRecordWriter("images.tfrecord") as writer:
        for folder in sorted(source.iterdir()):
            for path in sorted(folder.iterdir()):
                with Image.open(path) as image:
                    image.verify()
                example = tf.train.Example()
                feature = example.features.feature
                feature["image/encoded"].bytes_list.value.append(path.read_bytes())
                feature["image/class/text"].bytes_list.value.append(folder.name.encode())
                writer.write(example.SerializeToString())
                count += 1
    print(json.dumps({"seconds": time.monotonic() - begin, "images": count}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
