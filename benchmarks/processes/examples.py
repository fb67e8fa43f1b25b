"""The four data nodes in a process of its own: TFX's as they come, or darkroom's."""

import json
import sys
import time
from pathlib import Path
from typing import Any


def _stock(data: str) -> Any:
    from tfx import v1 as tfx
    from tfx.proto import example_gen_pb2

    splits = [
        example_gen_pb2.Input.Split(name=name, pattern=pattern)
        for name, pattern in (("train", "train/*"), ("eval", "test/*"))
    ]
    example_gen = tfx.components.ImportExampleGen(
        input_base=data, input_config=example_gen_pb2.Input(splits=splits)
    )
    statistics_gen = tfx.components.StatisticsGen(examples=example_gen.outputs["examples"])
    statistics = statistics_gen.outputs["statistics"]
    schema_gen = tfx.components.SchemaGen(statistics=statistics, infer_feature_shape=True)
    validator = tfx.components.ExampleValidator(
        statistics=statistics, schema=schema_gen.outputs["schema"]
    )
    here = Path.cwd()
    return tfx.dsl.Pipeline(
        pipeline_name="stock",
        pipeline_root=str(here / "root"),
        metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
            str(here / "metadata.sqlite")
        ),
        components=[example_gen, statistics_gen, schema_gen, validator],
    )


def _darkroom(data: str) -> Any:
    from darkroom.pipeline.config import load
    from darkroom.pipeline.pipeline import create_pipeline

    config = load("cifar10", [f"data.path={data}", f"root={Path.cwd()}"])
    config.home.mkdir()
    return create_pipeline(config)


def main(side: str, data: str) -> None:
    """Runs the nodes, and prints how long they took together."""
    pipeline = _stock(data) if side == "stock" else _darkroom(data)
    from tfx.orchestration.beam.beam_dag_runner import BeamDagRunner
    from tfx.orchestration.pipeline import RunOptions

    begin = time.monotonic()
    BeamDagRunner().run(pipeline, RunOptions(to_nodes=["ExampleValidator"]))
    print(json.dumps({"nodes_seconds": time.monotonic() - begin}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
