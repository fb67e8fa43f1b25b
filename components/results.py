"""Names under which nodes leave their results, for whoever reads them without TensorFlow."""

# Trainer's model_run: JSON of Keras's history, and the epoch (from 0) whose weights are exported.
HISTORY_FILE = "history.json"
# Exported model, below assets.extra: JSON of its class names and of the raw keys that it parses.
CONTRACT_PATH = "assets.extra/contract.json"
# Custom property of Evaluator's blessing: JSON of metrics, and of the reasons why not blessed.
VERDICT_PROPERTY = "verdict"
# Metrics' names in the verdict.
ACCURACY = "accuracy"
LOSS = "loss"
