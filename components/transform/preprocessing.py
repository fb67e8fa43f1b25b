"""The preprocessing graph of the Transform node: from encoded images to model input.

It exists once: training, evaluation and serving all run the graph that this function traces.
"""

import functools
from collections.abc import Callable, Mapping

import tensorflow as tf
import tensorflow_transform as tft

from darkroom.components.base import features, sections, settings, tracing, user_code
from darkroom.components.base.errors import DarkroomError
from darkroom.components.ingestion.decoding import decode, rare
from darkroom.components.transform import vocabulary

# Tensors by feature key; of multi-label data the label is sparse.
Tensors = Mapping[str, tf.Tensor | tf.SparseTensor]


def preprocessing_fn(inputs: Tensors, custom_config: Mapping[str, object]) -> Tensors:
    """Decodes, resizes and normalises images, and turns class names into indices.

    What ``preprocessing.image_fn`` does comes last.

    Args:
      inputs: the raw features, tensors of shape [batch, 1]; of multi-label data the label is a
        sparse [batch, any].
      custom_config: ``TransformSettings``, packed.

    Returns:
      ``image`` float32 [batch, height, width, channels] and ``label`` int64 [batch], the index
      in the label vocabulary of the training split, -1 if unknown;
      of multi-label data sparse [batch, any]. Of numbers ``label`` is float32 [batch, outputs], in
      standard deviations from the training split's mean, which come with it.
    """
    config = settings.TransformSettings.unpack(custom_config)
    encoded = tf.reshape(inputs[features.IMAGE_KEY], [-1])
    shape = (config.preprocessing.height, config.preprocessing.width, config.preprocessing.channels)
    images = _decoder(config.preprocessing)(encoded)
    images = tf.ensure_shape(normalize(images, config.preprocessing), [None, *shape])
    return {
        features.IMAGE: with_image_fn(images, config.preprocessing),
        **_label(inputs, tf.shape(encoded)[0]),
    }


def _label(inputs: Tensors, images: tf.Tensor) -> dict[str, tf.Tensor | tf.SparseTensor]:
    keys = features.target_keys(inputs)
    if keys == [features.LABEL_KEY]:
        labels = inputs[features.LABEL_KEY]
        if isinstance(labels, tf.Tensor):
            labels = tf.reshape(labels, [-1])
        return {features.LABEL: vocabulary.indices(labels)}
    numbers = tf.concat([tf.reshape(inputs[key], [-1, 1]) for key in keys], axis=1)
    mean = tft.mean(numbers, reduce_instance_dims=False)
    deviation = tf.sqrt(tft.var(numbers, reduce_instance_dims=False))

    def of_each(values: tf.Tensor) -> tf.Tensor:
        return tf.ensure_shape(tf.repeat(values[tf.newaxis], images, axis=0), [None, len(keys)])

    return {
        features.LABEL: (numbers - mean) / deviation,
        # With images alone, too: what the network says is put back by them.
        features.MEAN: of_each(mean),
        features.DEVIATION: of_each(deviation),
    }


def target(transformed: Tensors, num_classes: int) -> tf.Tensor:
    """The label as a network's loss takes it, of the transform graph's outputs.

    Returns:
      int64 [batch], the index in the label vocabulary; of multi-label data float32
      [batch, num_classes], 1 for each label that an image has, else 0; of numbers float32
      [batch, outputs].
    """
    label = transformed[features.LABEL]
    if isinstance(label, tf.Tensor):
        return label
    indices = tf.sparse.to_dense(label, default_value=-1)  # of which there is no class
    return tf.reduce_sum(tf.one_hot(indices, num_classes), axis=1)


@functools.cache
def _decoder(preprocessing: sections.Preprocessing) -> Callable[[tf.Tensor], tf.Tensor]:
    """From image files, strings [batch], to images of the configured shape.

    A function of its own is traced once for the ten times that TensorFlow Transform traces all.
    """
    shape = (preprocessing.height, preprocessing.width, preprocessing.channels)
    least_side = 2 * max(shape[:2])  # of which each pixel is an average, however it is turned

    def fitted(image: tf.Tensor) -> tf.Tensor:
        return fit(decode(image, preprocessing.background, least_side), preprocessing)

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string)])
    def decoded(encoded: tf.Tensor) -> tf.Tensor:
        return tf.map_fn(
            fitted,
            encoded,
            fn_output_signature=tf.TensorSpec(shape, tf.float32),
        )

    decoder: Callable[[tf.Tensor], tf.Tensor] = decoded
    return decoder


def fit(image: tf.Tensor, preprocessing: sections.Preprocessing) -> tf.Tensor:
    """Brings a decoded image, float32 [height, width, 1 or 3], to the configured shape."""
    in_colour = tf.shape(image)[2] == 3
    if preprocessing.channels == 3:
        image = tf.cond(in_colour, lambda: image, lambda: tf.repeat(image[..., :1], 3, axis=-1))
    else:
        image = tf.cond(in_colour, lambda: tf.image.rgb_to_grayscale(image[..., :3]), lambda: image)
    image.set_shape([None, None, preprocessing.channels])
    size = tf.constant([preprocessing.height, preprocessing.width])
    return tf.cond(
        tf.reduce_all(tf.shape(image)[:2] == size),
        lambda: image,
        lambda: _resize(image, size, pad=preprocessing.resize == "pad"),
    )


@rare
def _resize(image: tf.Tensor, size: tf.Tensor, pad: bool) -> tf.Tensor:
    target = size
    if pad:
        shape = tf.cast(tf.shape(image)[:2], tf.float32)
        scale = tf.reduce_min(tf.cast(size, tf.float32) / shape)
        target = tf.maximum(tf.cast(tf.round(shape * scale), tf.int32), 1)
    # Area averages every pixel when shrinking, cubic draws smooth edges when enlarging.
    image = tf.cond(
        tf.reduce_any(tf.shape(image)[:2] > target),
        lambda: tf.image.resize(image, target, "area"),
        lambda: tf.clip_by_value(tf.image.resize(image, target, "bicubic"), 0.0, 255.0),
    )
    if pad:
        image = tf.image.resize_with_crop_or_pad(image, size[0], size[1])
    return image


def normalize(images: tf.Tensor, preprocessing: sections.Preprocessing) -> tf.Tensor:
    """Scales images in [0, 255] to [0, 1], or to mean 0 and deviation 1 in each channel."""
    if preprocessing.normalization == "rescale":
        return images / 255.0
    # Elementwise over [pixels, channels] is per channel; a constant channel becomes 0.
    pixels = tft.scale_to_z_score(
        tf.reshape(images, [-1, preprocessing.channels]), elementwise=True
    )
    return tf.reshape(pixels, tf.shape(images))


def with_image_fn(images: tf.Tensor, preprocessing: sections.Preprocessing) -> tf.Tensor:
    """Runs ``preprocessing.image_fn``, where there is one, on normalised images.

    Args:
      images: float32 [batch, height, width, channels], in a graph.
      preprocessing: the section.

    Returns:
      The same shape and type.

    Raises:
      UserCodeError: the function raised, or can't be traced to a graph.
      DarkroomError: it returned something else, or calls Python from the graph.
    """
    path = preprocessing.image_fn
    if path is None:
        return images
    who = f"preprocessing.image_fn: {path}"
    image_fn = user_code.resolve(path, "preprocessing.image_fn")
    output = user_code.call(image_fn, who, images, failed=tracing.FAILED)
    is_tensor = isinstance(output, tf.Tensor)
    same = is_tensor and images.shape.is_compatible_with(output.shape)
    if not same or output.dtype != tf.float32:
        received = f"{output.dtype.name} of shape {output.shape}" if is_tensor else repr(output)
        raise DarkroomError(
            f"{who}: expected images as it gets them, float32 of shape {images.shape}, "
            f"received {received}."
        )
    tracing.refuse_python(output.graph, who)
    return tf.ensure_shape(output, images.shape)


def check(preprocessing: sections.Preprocessing) -> None:
    """Traces ``preprocessing.image_fn`` alone; raises as ``with_image_fn`` does."""
    shape = (None, preprocessing.height, preprocessing.width, preprocessing.channels)
    traced = tf.function(lambda images: with_image_fn(images, preprocessing), autograph=False)
    traced.get_concrete_function(tf.TensorSpec(shape, tf.float32))
