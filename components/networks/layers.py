"""Layers that Keras has, quicker."""

import keras
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
