"""Small SavedModels of all kinds that a model server meets, as TensorFlow Serving's test data."""

from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from darkroom.serving import signatures

tf1 = tf.compat.v1
_SIGNATURES = tf1.saved_model.signature_constants


def half_plus_two(folder: Path, offset: float = 2.0, warmup: bool = False) -> Path:
    """y = x / 2 + 2, of TensorFlow 1, with predict, classify and regress signatures.

    ``classify_x2_to_y3`` and ``regress_x2_to_y3`` take another input tensor than the others.
    """
    with tf.Graph().as_default(), tf1.Session() as session:
        half = tf1.Variable(0.5, name="a")
        added = tf1.Variable(offset, name="b")
        serialized = tf1.placeholder(tf.string, [None], name="tf_example")
        parsed = tf.io.parse_example(
            serialized,
            {
                "x": tf.io.FixedLenFeature([1], tf.float32),
                "x2": tf.io.FixedLenFeature([1], tf.float32, [0.0]),
            },
        )
        x = tf.identity(parsed["x"], name="x")
        y = tf.add(x * half, added, name="y")
        y3 = tf.add(parsed["x2"] * half, 3.0, name="y3")
        both = tf.concat([x, y], 1, name="both")
        names = tf.tile([["x", "y"]], [tf.shape(x)[0], 1], name="names")
        info = tf1.saved_model.build_tensor_info
        of_examples = {"inputs": info(serialized)}

        def signature(inputs: dict, outputs: dict, kind: str) -> object:
            return tf1.saved_model.build_signature_def(inputs, outputs, kind)

        classify, regress, predict = (
            f"tensorflow/serving/{kind}" for kind in ("classify", "regress", "predict")
        )
        session.run(tf1.global_variables_initializer())
        builder = tf1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            signature_def_map={
                "serving_default": signature({"x": info(x)}, {"y": info(y)}, predict),
                "regress_x_to_y": signature(of_examples, {"outputs": info(y)}, regress),
                "regress_x2_to_y3": signature(of_examples, {"outputs": info(y3)}, regress),
                "classify_x_to_y": signature(of_examples, {"scores": info(y)}, classify),
                "classify_both": signature(
                    of_examples, {"classes": info(names), "scores": info(both)}, classify
                ),
                "classify_names": signature(of_examples, {"classes": info(names)}, classify),
                # As TensorFlow 2 saves every function.
                "predict_scores": signature(of_examples, {"scores": info(y)}, predict),
                "regress_flat": signature(of_examples, {"outputs": info(y[:, 0])}, regress),
                "regress_wide": signature(of_examples, {"outputs": info(both)}, regress),
                "regress_x_direct": signature({"inputs": info(x)}, {"outputs": info(y)}, regress),
            },
        )
        builder.save()
    if warmup:
        log = prediction_log_pb2.PredictionLog()
        log.predict_log.request.inputs["x"].CopyFrom(tf.make_tensor_proto([[1.0]]))
        path = folder / signatures.WARMUP_PATH
        path.parent.mkdir()
        with tf.io.TFRecordWriter(str(path)) as writer:
            writer.write(log.SerializeToString())
    return folder


class _Every(tf.Module):
    """Of TensorFlow 2: one function for each thing that can be odd."""

    def __init__(self) -> None:
        super().__init__()
        self.names = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(tf.range(3, dtype=tf.int64), ["a", "b", "c"]), "?"
        )

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32, "x")])
    def half(self, x: tf.Tensor) -> dict:
        return {"y": x / 2.0 + 2.0}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.float32, "a"),
            tf.TensorSpec([None], tf.int64, "b"),
        ]
    )
    def two(self, a: tf.Tensor, b: tf.Tensor) -> dict:
        return {"sum": a + tf.cast(b, tf.float32), "name": self.names.lookup(b)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image_bytes")])
    def upper(self, image_bytes: tf.Tensor) -> dict:
        upper = tf.strings.upper(image_bytes)
        return {"text": upper, "raw_bytes": upper}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def total(self, x: tf.Tensor) -> dict:
        return {"total": tf.reduce_sum(x)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def checked(self, x: tf.Tensor) -> dict:
        with tf.control_dependencies([tf.debugging.assert_non_negative(x, "no negative numbers")]):
            return {"root": tf.sqrt(x)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def named(self, x: tf.Tensor) -> dict:
        return {"y": x, "names": tf.constant(["a", "b", "c", "d"])}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def batch(self, x: tf.Tensor) -> dict:
        return {"size": tf.zeros_like(x) + tf.cast(tf.shape(x)[0], tf.float32)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, "steps")])
    def slow(self, steps: tf.Tensor) -> dict:
        matrix = tf.eye(256)
        for _ in tf.range(tf.reduce_max(steps)):
            matrix = tf.matmul(matrix, matrix)
        return {"done": tf.cast(steps, tf.float32) * matrix[0, 0]}


DTYPES = (
    tf.bool,
    tf.int8,
    tf.int16,
    tf.int32,
    tf.int64,
    tf.uint8,
    tf.uint32,
    tf.uint64,
    tf.float32,
    tf.float64,
    tf.string,
    tf.float16,
)


def every(folder: Path) -> Path:
    """The signatures half (default), two, upper, total, checked, named, batch, slow, echo_DTYPE."""
    module = _Every()
    signatures = {
        "serving_default": module.half,
        "two": module.two,
        "upper": module.upper,
        "total": module.total,
        "checked": module.checked,
        "named": module.named,
        "batch": module.batch,
        "slow": module.slow,
    }
    for dtype in DTYPES:
        echo = tf.function(
            lambda x: {"y": tf.identity(x)}, input_signature=[tf.TensorSpec(None, dtype, "x")]
        )
        setattr(module, f"echo_{dtype.name}", echo)
        signatures[f"echo_{dtype.name}"] = echo
    tf.saved_model.save(module, str(folder), signatures=signatures)
    return folder


def images(folder: Path) -> Path:
    """Encoded images to the mean of their pixels, one by one, as darkroom's own exports.

    ``serving_examples`` takes them in tf.Examples, ``frames`` with all of an animation.
    """
    module = tf.Module()

    def mean(image: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(
            tf.cast(tf.io.decode_image(image, 3, tf.uint8, "d", False), tf.float32)
        )

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image_bytes")])
    def serve(image_bytes: tf.Tensor) -> dict:
        means = tf.map_fn(mean, image_bytes, fn_output_signature=tf.float32)
        classes = tf.repeat(tf.constant([["dark", "light"]]), tf.shape(means)[0], axis=0)
        return {"classes": classes, "scores": tf.stack([255.0 - means, means], 1) / 255.0}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
    def of_examples(examples: tf.Tensor) -> dict:
        features = {"image/encoded": tf.io.FixedLenFeature([], tf.string)}
        return serve(tf.io.parse_example(examples, features)["image/encoded"])

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "files")])
    def frames(files: tf.Tensor) -> dict:
        def count(file: tf.Tensor) -> tf.Tensor:
            return tf.size(tf.io.decode_image(file, 3)) // 3

        return {"pixels": tf.map_fn(count, files, fn_output_signature=tf.int32)}

    module.functions = [serve, of_examples, frames]
    own = {"serving_default": serve, "serving_examples": of_examples, "frames": frames}
    tf.saved_model.save(module, str(folder), signatures=own)
    return folder


def lite(folder: Path, signature: bool) -> Path:
    """y = x / 2 + 2 for TensorFlow Lite, with a signature or, as older files, without."""
    module = _Every()
    function = module.half.get_concrete_function()
    if signature:
        tf.saved_model.save(module, str(folder / "source"), {"serving_default": module.half})
        converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "source"))
    else:
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "model.tflite").write_bytes(converter.convert())
    return folder


class _Two(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def double(self, x: tf.Tensor) -> dict:
        return {"y": 2.0 * x}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def next(self, x: tf.Tensor) -> dict:
        return {"y": x + 1.0}


def lite_of_two(folder: Path) -> Path:
    """2 x, and as ``next`` x + 1, in one file for TensorFlow Lite."""
    module = _Two()
    both = {"serving_default": module.double, "next": module.next}
    tf.saved_model.save(module, str(folder / "source"), both)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "source"))
    (folder / "model.tflite").write_bytes(converter.convert())
    return folder
