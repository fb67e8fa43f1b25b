"""Names of the exported model's signatures, inputs, outputs and contract, once."""

SERVING = "serving_default"  # encoded images to classes and scores, for people
EXAMPLES = "serving_examples"  # serialised tf.Examples to the same, for TFX
TRANSFORM = "transform_features"  # serialised tf.Examples to the label, for evaluation

IMAGE_BYTES = "image_bytes"  # input, string [batch]: encoded image files
EXAMPLES_INPUT = "examples"  # input, string [batch]: serialised tf.Examples
CLASSES = "classes"  # output, string [batch, num_classes]
SCORES = "scores"  # output, float32 [batch, num_classes]

# Of a REST answer of darkroom's own server: the version that gave it.
VERSION_HEADER = "x-model-version"

# Labels of versions.
STABLE, CANARY = "stable", "canary"

# Below the model's folder: requests that are replayed before a version answers.
WARMUP_PATH = "assets.extra/tf_serving_warmup_requests"
# Below the model's folder: its classes, and whether an image has any number of them.
CONTRACT_PATH = "assets.extra/contract.json"
LABEL_SEPARATOR = "|"  # of several labels in one text
