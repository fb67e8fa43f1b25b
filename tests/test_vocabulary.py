import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_transform.tf_metadata import dataset_metadata, schema_utils

from darkroom.components.transform import vocabulary


@pytest.mark.parametrize(
    ("names", "expected"),
    [(["owl", "cat", "dog"], ["cat", "dog", "owl"]),
     (["10", "9", "0"], ["0", "9", "10"]),
     (["10", "9", "other", "Żubr", "Other"], ["9", "10", "Other", "other", "Żubr"])],
)  # fmt: skip
def test_names_are_in_the_order_in_which_people_look(names: list[str], expected: list[str]) -> None:
    ordered = vocabulary.in_order(name.encode() for name in names)
    assert [name.decode() for name in ordered] == expected


@pytest.mark.parametrize("several", [False, True])
def test_the_vocabulary_of_a_split(several: bool, tmp_path: object) -> None:
    texts = [[b"owl", b"cat"], [b"owl"], [], [b"dog"]] if several else [[b"owl"], [b"cat"]]
    kind = tf.io.VarLenFeature if several else lambda dtype: tf.io.FixedLenFeature([1], dtype)
    schema = schema_utils.schema_from_feature_spec({"label": kind(tf.string)})
    data = [{"label": np.array(text, object)} for text in texts]
    with tft_beam.Context(temp_dir=str(tmp_path)):
        metadata = dataset_metadata.DatasetMetadata(schema)
        (rows, _), graph = (data, metadata) | tft_beam.AnalyzeAndTransformDataset(
            lambda inputs: {"index": vocabulary.indices(inputs["label"])}
        )
        _ = graph | tft_beam.WriteTransformFn(f"{tmp_path}/graph")
    names = vocabulary.class_names(tft.TFTransformOutput(f"{tmp_path}/graph"))
    assert names == (["cat", "dog", "owl"] if several else ["cat", "owl"])
    indices = [row["index"].tolist() for row in rows]
    assert indices == ([[2, 0], [2], [], [1]] if several else [[1], [0]])
