"""TFX's MNIST example as shipped, in a process of its own, and the examples that it reads."""

import json
import sys
from pathlib import Path

_IN_MEMORY = ["--direct_running_mode=in_memory"]


def write_examples(mnist: Path, folder: Path) -> None:
    """Writes all images of both splits as the example wants them: floats and integer labels."""
    import tensorflow as tf

    spec = {
        "image/encoded": tf.io.FixedLenFeature([], tf.string),
        "image/class/text": tf.io.FixedLenFeature([], tf.string),
    }
    folder.mkdir()
    for path in sorted(mnist.glob("*/*")):
        with tf.io.TFRecordWriter(str(folder / path.name)) as writer:
            for record in tf.data.TFRecordDataset(str(path)):
                parsed = tf.io.parse_single_example(record, spec)
                pixels = tf.io.decode_png(parsed["image/encoded"], 1).numpy().ravel()
                example = tf.train.Example()
                features = example.features.feature
                features["image_floats"].float_list.value.extend(pixels / 255 - 0.5)
                features["image_class"].int64_list.value.append(
                    int(parsed["image/class/text"].numpy())
                )
                writer.write(example.SerializeToString())


def main(examples: str, beam: str, steps: str) -> None:
    """Runs the example in the current folder and prints the accuracy that it found.

    Args:
      examples: folder made by ``write_examples``.
      beam: ``as_shipped`` for the example's own arguments of Beam, or ``in_memory``.
      steps: of the training; 5000 are the example's own.
    """
    import tensorflow_model_analysis as tfma
    from tfx.examples.mnist import mnist_pipeline_native_keras as example
    from tfx.orchestration.beam.beam_dag_runner import BeamDagRunner

    here = Path.cwd()
    metadata = here / "metadata" / "metadata.db"
    pipeline = example._create_pipeline(
        pipeline_name=example._pipeline_name,
        pipeline_root=str(here / "root"),
        data_root=examples,
        module_file=str(Path(example.__file__).with_name("mnist_utils_native_keras.py")),
        serving_model_dir=str(here / "serving_model"),
        metadata_path=str(metadata),
        beam_pipeline_args=_IN_MEMORY if beam == "in_memory" else example._beam_pipeline_args,
    )
    if int(steps) != 5000:
        [trainer] = (node for node in pipeline.components if node.id == "Trainer.mnist")
        trainer.exec_properties["train_args"] = json.dumps({"num_steps": int(steps)})
    BeamDagRunner().run(pipeline)
    [evaluation] = (here / "root" / "Evaluator.mnist" / "evaluation").iterdir()
    metrics = tfma.load_eval_result(str(evaluation)).get_metrics_for_slice()
    pushed = any((here / "serving_model").glob("*/saved_model.pb"))
    accuracy = metrics["sparse_categorical_accuracy"]["doubleValue"]
    print(json.dumps({"accuracy": accuracy, "pushed": pushed}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
