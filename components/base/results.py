"""Names under which nodes leave their results, for whoever reads them without TensorFlow."""

# ImportExampleGen's examples: JSON of what the inspection counted, and the records set aside.
INSPECTION_FILE = "inspection.json"
QUARANTINE_FOLDER = "quarantine"
# Custom property of SchemaGen's schema: 1 if it was inferred, 0 if it is the user's own.
INFERRED_PROPERTY = "inferred"
# Custom property of what LastStatistics and Baseline make: 0 if they found nothing.
FOUND_PROPERTY = "found"
# Custom property of ExampleValidator's anomalies: JSON of a sentence for each.
ANOMALIES_PROPERTY = "sentences"
# Tuner's tuner_results: JSON of a row for each trial, best first, and a picture of them.
TUNER_RESULTS = "tuner_results.json"
SEARCH_PICTURE = "search.png"
# Trainer's model_run: JSON of Keras's history, and the epoch (from 0) whose weights are exported.
HISTORY_FILE = "history.json"
# Beside it: a picture of training images, and of what augmentation makes of them.
CONTACT_SHEET = "augmentation.png"
# Key of a node's ``custom_config``: a folder for what outlives the node, where artifacts are none
# that do, as those of a pod; without it that is beside the node's artifacts.
UNFINISHED_KEY = "unfinished"
# Below the pipeline's folder of artifacts: searches that outlive their runs, and in it the
# preprocessed examples that all trials and Trainer share.
SEARCHES_FOLDER = "Tuner/searches"
EXAMPLES_FOLDER = "examples"
# There too: what other machines are to help with, which they find by the configuration alone.
SEARCH_FILE = "Tuner/searches/current.json"
TRAINING_FILE = "Trainer/training.json"
# LearningRateScan's model_run: JSON of each rate's metrics and the best rate, and a picture.
SCAN_FILE = "lr_scan.json"
SCAN_PICTURE = "lr_scan.png"
# Metrics' names in the verdict.
ACCURACY = "accuracy"
LOSS = "loss"
# Report's report: the page, the same as text, what both are made of, and a folder of pictures.
REPORT_PAGE = "report.html"
REPORT_TEXT = "report.md"
REPORT_FACTS = "report.json"
PICTURES_FOLDER = "pictures"
# Below the pipeline's folder of artifacts: the reports of runs that didn't get to their end.
UNFINISHED_REPORTS = "Report/unfinished"
# Custom properties of a run: JSON of its configuration, of the versions and the commit it ran
# with, and of the code's fingerprint by node.
CONFIG_PROPERTY = "darkroom_config"
ENVIRONMENT_PROPERTY = "darkroom_environment"
SOURCES_PROPERTY = "darkroom_sources"
