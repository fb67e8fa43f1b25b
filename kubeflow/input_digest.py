"""What a container runs before ImportExampleGen: looks at the images' files, and not into them.

``python -m darkroom.kubeflow.input_digest --input JSON`` gives a fingerprint of their number, sizes
and times as an output parameter, which is part of the cache's key of ImportExampleGen. Without it
either changed images would go unseen, or every run would do all the work again: whoever comes after a task that
isn't cached gets artifacts of other ids, and is not cached either.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence

from darkroom.components.base.errors import DarkroomError, explain
from darkroom.kubeflow.task import SEEN_PARAMETER


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the fingerprint; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m darkroom.kubeflow.input_digest")
    parser.add_argument("--input", required=True, type=json.loads, help="ExecutorInput as JSON")
    options = parser.parse_args(arguments)
    from tfx.dsl.io import fileio

    from darkroom.components.base import remote
    from darkroom.components.ingestion import input_files

    given = options.input["inputs"]["parameterValues"]
    try:
        remote.plug_in(given["input_base"])
        seen = input_files.resolve(given["input_base"], given["input_config"])
        for split, pattern in seen.patterns.items():
            if not fileio.glob(os.path.join(given["input_base"], pattern)):
                raise DarkroomError(
                    f"No files for the {split} split: nothing is named {pattern} in "
                    f"{given['input_base']}, as this container sees it. Do data.path and "
                    "data.splits say where the TFRecords are?"
                )
    except Exception as error:
        print(f"Seen failed. {explain(error)}", file=sys.stderr, flush=True)
        return 1
    output_file = options.input["outputs"]["outputFile"]
    fileio.makedirs(os.path.dirname(output_file))
    with fileio.open(output_file, "w") as file:
        file.write(json.dumps({"parameterValues": {SEEN_PARAMETER: seen.fingerprint}}))
    print(seen.fingerprint, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
