"""What a container runs before ImportExampleGen: looks at the images' files, and not into them.

A fingerprint of their number, sizes and times is part of ImportExampleGen's cache key. Without it
changed images would go unseen, or every run would do all the work again: whoever comes after a
task that isn't cached gets artifacts of other ids.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence

from darkroom.components.base.errors import DarkroomError, explain
from darkroom.kubeflow.protocol import SEEN_PARAMETER, ExecutorInput
from darkroom.kubeflow.task import write_output


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the fingerprint; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m darkroom.kubeflow.input_digest")
    parser.add_argument("--input", required=True, type=json.loads, help="ExecutorInput as JSON")
    handed: ExecutorInput = parser.parse_args(arguments).input
    parameters = handed["inputs"]["parameterValues"]
    try:
        digest = _digest(str(parameters["input_base"]), str(parameters["input_config"]))
    except Exception as error:
        print(f"Seen failed. {explain(error)}", file=sys.stderr, flush=True)
        return 1
    output_file = handed["outputs"]["outputFile"]
    write_output(output_file, {"parameterValues": {SEEN_PARAMETER: digest}})
    print(digest, flush=True)
    return 0


def _digest(folder: str, input_config: str) -> str:
    from tfx.dsl.io import fileio

    from darkroom.components.base import remote
    from darkroom.components.ingestion import input_files

    remote.plug_in(folder)
    files = input_files.resolve(folder, input_config)
    for split, pattern in files.patterns.items():
        if not fileio.glob(os.path.join(folder, pattern)):
            raise DarkroomError(
                f"No files for the {split} split: nothing is named {pattern} in {folder}, as this "
                "container sees it. Do data.path and data.splits say where the TFRecords are?"
            )
    return files.fingerprint


if __name__ == "__main__":
    sys.exit(main())
