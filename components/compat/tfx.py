"""What is private of TFX."""

from collections.abc import Callable
from typing import ClassVar

from tfx.orchestration.beam import beam_dag_runner
from tfx.proto.orchestration import pipeline_pb2

# Runs one node of a compiled pipeline.
Launch = Callable[[pipeline_pb2.Pipeline, pipeline_pb2.PipelineNode], None]


class _LaunchedNode(beam_dag_runner.PipelineNodeAsDoFn):
    """A node in Beam's graph of nodes.

    Beam makes a copy of it by pickle, and a display can't be pickled. So ``launch`` belongs to the
    class, which is the same one in all of this process.
    """

    launch: ClassVar[Launch]

    def __init__(
        self,
        pipeline_node: pipeline_pb2.PipelineNode,
        pipeline: pipeline_pb2.Pipeline,
        **deployment: object,
    ):
        super().__init__(pipeline_node=pipeline_node, pipeline=pipeline, **deployment)
        self.node, self.pipeline = pipeline_node, pipeline

    def process(self, element: object, *signals: object) -> None:
        """Beam calls it when the ``signals`` of the nodes before it are there."""
        type(self).launch(self.pipeline, self.node)


def beam_runner(launch: Launch) -> beam_dag_runner.BeamDagRunner:
    """TFX's BeamDagRunner, which calls ``launch`` for each node, in this process.

    TFX's own makes a launcher for each node itself, and tells nobody when a node starts, ends, or
    is taken from the cache. The class that stands for a node is its only hook, and private.
    """
    _LaunchedNode.launch = staticmethod(launch)

    class Runner(beam_dag_runner.BeamDagRunner):
        _PIPELINE_NODE_DO_FN_CLS = _LaunchedNode

    return Runner()
