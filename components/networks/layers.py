"""Layers that Keras hasn't, or has slower."""

import keras
import numpy as np
import tensorflow as tf


@keras.saving.register_keras_serializable("darkroom")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's, of images in one fused operation of TensorFlow's.

    Keras 3 computes it in a dozen operations, always in float32. The fused one reads bfloat16 as it
    is, and TensorFlow joins it to the convolution before it where a model is served
    (docs/benchmarks.md). The moving variance is of the population, not of the batch:
    n / (n - 1) of Keras's, with n values in a channel.
    """

    def call(
        self,
        inputs: tf.Tensor,
        training: bool | None = None,
        mask: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """From [batch, height, width, channels] to the same.

        Other shapes, and batches that several devices share, are as Keras has them.
        """
        of_images = len(inputs.shape) == 4 and self.axis in (-1, 3)
        if not of_images or self.synchronized or not (self.center and self.scale):
            return super().call(inputs, training, mask)
        of_batch = bool(training and self.trainable)
        averages = (tf.zeros([0]),) * 2 if of_batch else (self.moving_mean, self.moving_variance)
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=self.gamma,
            offset=self.beta,
            mean=averages[0],
            variance=averages[1],
            epsilon=self.epsilon,
            is_training=of_batch,
        )
        if of_batch:
            for average, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
                average.assign(average * self.momentum + value * (1.0 - self.momentum))
        return outputs


@keras.saving.register_keras_serializable("darkroom")
class Whitening(keras.layers.Layer):
    """Fixed filters of 2×2 pixels whose outputs are uncorrelated and of variance 1 (Page 2019).

    For c channels there are 4·c of them, and their negatives, which an activation keeps. They are
    made of images once, by ``adapt``; until then they are 0.
    """

    _SIDE = 2
    _FLAT = 5e-4  # variance, of images of variance 1, below which a pattern is rather noise

    def build(self, shape: tuple[int | None, ...]) -> None:
        channels = shape[-1]
        assert channels is not None
        patterns = self._SIDE**2 * channels
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self._SIDE, self._SIDE, channels, 2 * patterns),
            initializer="zeros",
            trainable=False,
        )

    def adapt(self, images: np.ndarray) -> None:
        """Makes the filters of what these images, float32 [count, height, width, channels], show.

        Filters that there are already, of other images or read from a file, are left as they are.
        """
        if np.any(self.kernel.numpy()):
            return
        size = [1, self._SIDE, self._SIDE, 1]
        patches = tf.image.extract_patches(images, size, [1] * 4, [1] * 4, "VALID")
        values = patches.numpy().reshape(-1, patches.shape[-1]).astype(np.float64)
        variances, patterns = np.linalg.eigh(np.cov(values, rowvar=False))
        least = self._FLAT * float(np.var(images)) + np.finfo(np.float32).tiny
        filters = patterns / np.sqrt(np.maximum(variances, 0) + least)
        both = np.concatenate([filters, -filters], axis=1)
        self.kernel.assign(both.reshape(self.kernel.shape))

    def call(self, images: tf.Tensor) -> tf.Tensor:
        """From [batch, height, width, channels] to [batch, height - 1, width - 1, 8·channels]."""
        return keras.ops.conv(images, self.kernel, padding="valid")

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, *sides, channels = shape
        assert channels is not None
        less = (None if side is None else side - self._SIDE + 1 for side in sides)
        return batch, *less, 2 * self._SIDE**2 * channels


@keras.saving.register_keras_serializable("darkroom")
class Dirac(keras.initializers.Initializer):
    """Convolutions that pass their input on (Zagoruyko and Komodakis 2017), and random filters.

    As many filters as there are channels pass on one each. Dense layers begin as Glorot has it.
    """

    def __call__(self, shape: tuple[int, ...], dtype: str | None = None) -> tf.Tensor:
        if len(shape) != 4:
            return keras.initializers.GlorotUniform()(shape, dtype=dtype)
        rows, columns, channels, filters = shape
        values = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")(shape, dtype=dtype)
        passed = min(channels, filters)
        one = np.zeros((rows, columns, channels, passed), np.float32)
        one[rows // 2, columns // 2, range(passed), range(passed)] = 1.0
        return tf.concat([tf.cast(one, values.dtype), values[..., passed:]], axis=-1)

    def get_config(self) -> dict[str, object]:
        return {}
