"""Names under which nodes leave their results, for whoever reads them without TensorFlow."""

# ImportExampleGen's examples: JSON of what the inspection counted, and the records set aside.
INSPECTION_FILE = "inspection.json"
QUARANTINE_FOLDER = "quarantine"
# Custom property of SchemaGen's schema: 1 if it was inferred, 0 if it is the user's own.
INFERRED_PROPERTY = "inferred"
# Custom property of ExampleValidator's anomalies: JSON of a sentence for each.
ANOMALIES_PROPERTY = "sentences"
# Tuner's tuner_results: JSON of a row for each trial, best first, and a picture of them.
TUNER_RESULTS = "tuner_results.json"
SEARCH_PICTURE = "search.png"
# Trainer's model_run: JSON of Keras's history, and the epoch (from 0) whose weights are exported.
HISTORY_FILE = "history.json"
# Beside it: a picture of training images, and of what augmentation makes of them.
CONTACT_SHEET = "augmentation.png"
# Below the pipeline's folder of artifacts: searches that outlive their runs, and in it the
# preprocessed examples that all trials and Trainer share.
SEARCHES_FOLDER = "Tuner/searches"
EXAMPLES_FOLDER = "examples"
# LearningRateScan's model_run: JSON of each rate's metrics and the best rate, and a picture.
SCAN_FILE = "lr_scan.json"
SCAN_PICTURE = "lr_scan.png"
# Custom property of Evaluator's blessing: JSON of metrics, and of the reasons why not blessed.
VERDICT_PROPERTY = "verdict"
# Metrics' names in the verdict.
ACCURACY = "accuracy"
LOSS = "loss"
