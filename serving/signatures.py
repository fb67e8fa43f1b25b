"""Names of the exported model's signatures, inputs and outputs, once."""

SERVING = "serving_default"  # encoded images to classes and scores, for people
EXAMPLES = "serving_examples"  # serialised tf.Examples to the same, for TFX
TRANSFORM = "transform_features"  # serialised tf.Examples to the label, for evaluation
REGRESS = "regress_examples"  # serialised tf.Examples to the one number of a regression

IMAGE_BYTES = "image_bytes"  # input, string [batch]: encoded image files
EXAMPLES_INPUT = "examples"  # input, string [batch]: serialised tf.Examples
CLASSES = "classes"  # output, string [batch, num_classes]
SCORES = "scores"  # output, float32 [batch, num_classes]

# Of a regression, by the names that TensorFlow Serving's Regress has.
REGRESS_INPUT = "inputs"
NUMBERS = "outputs"  # output, float32 [batch, outputs], in the units of the examples
NAMES = "names"  # output, string [batch, outputs]
LOW, HIGH = "low", "high"  # outputs, float32 [batch, outputs]: ends of the numbers' intervals

VERSION_HEADER = "x-model-version"  # of darkroom's own server's answers over REST

STABLE, CANARY = "stable", "canary"  # labels of versions

# Below the model's folder.
WARMUP_PATH = "assets.extra/tf_serving_warmup_requests"  # replayed before a version answers
LABEL_SEPARATOR = "|"  # of several labels in one text
