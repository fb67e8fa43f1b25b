"""``python -m darkroom.pipeline.cli``: the same as ``python -m darkroom``, all commands."""

import runpy

runpy.run_module("darkroom", run_name="__main__")
