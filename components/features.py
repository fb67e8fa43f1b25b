"""Every feature key of the pipeline, once.

The raw keys of the user's own TFRecords are configuration (``data.image_key`` and
``data.label_key``); these are their defaults, and the names downstream.
"""

# Raw features, the ecosystem's own keys (tf.Example of TensorFlow's image data sets).
IMAGE_KEY = "image/encoded"
LABEL_KEY = "image/class/text"
FILENAME_KEY = "image/filename"

# What the transform graph gives: image float32 [height, width, channels], label int64 [].
IMAGE = "image"
LABEL = "label"
LABEL_VOCABULARY = "labels"  # file name of the label vocabulary in the transform graph
