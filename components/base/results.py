"""Names under which nodes leave their results, for whoever reads them without TensorFlow."""

import hashlib
import json

# Custom property of what LastStatistics and Baseline make: 0 if they found nothing.
FOUND_PROPERTY = "found"
# Another, of the model that Baseline finds: the version as which it was pushed.
VERSION_PROPERTY = "pushed_version"
# Below the pipeline's folder of artifacts: searches that outlive their runs, and in it the
# preprocessed examples that all trials and Trainer share.
SEARCHES_FOLDER = "Tuner/searches"
EXAMPLES_FOLDER = "examples"
OUTPUTS_FOLDER = "outputs"  # of a frozen backbone
# Also there: a search's announcement, which other machines find by the configuration alone.
SEARCH_FILE = "Tuner/searches/current.json"
# Metrics' names in the verdict.
ACCURACY = "accuracy"
LOSS = "loss"
MAE, R2 = "mae", "r2"
# Report's report: the page, the same as text, what both are made of, and a folder of pictures.
REPORT_PAGE = "report.html"
REPORT_TEXT = "report.md"
REPORT_FACTS = "report.json"
PICTURES_FOLDER = "pictures"
EXAMPLE_PICTURE = "example-{}"  # of the data, numbered from 0
# Below the pipeline's folder of artifacts: the reports of runs that didn't get to their end.
UNFINISHED_REPORTS = "Report/unfinished"


def name_of(facts: object) -> str:
    """A name for what these facts, plain data, determine: others have another."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
