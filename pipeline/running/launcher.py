"""Launches the nodes of a run, and tells the display and ML Metadata what became of each."""

import contextvars
import datetime
import time

from tfx.dsl.compiler import constants
from tfx.orchestration.local import local_dag_runner, runner_utils
from tfx.orchestration.metadata import Metadata
from tfx.orchestration.pipeline import Pipeline
from tfx.orchestration.portable import launcher, runtime_parameter_utils
from tfx.proto.orchestration import pipeline_pb2

from darkroom.components import nodes
from darkroom.components.base import remote
from darkroom.components.base.errors import explain, was_interrupted
from darkroom.components.base.status import Status
from darkroom.components.compat.tfx import Launch
from darkroom.components.runs import environment, inventory, lineage, staging
from darkroom.pipeline.config import Config
from darkroom.pipeline.display import Display
from darkroom.pipeline.node_settings import NodeSettings
from darkroom.serving import interrupts, telemetry


class NodeLauncher:
    """Launches nodes by TFX's own launcher."""

    def __init__(self, config: Config, pipeline: Pipeline, display: Display):
        self._config, self._display = config, display
        self._node_ids = [node.id for node in pipeline.components]
        self._is_noted = False
        self._context = contextvars.copy_context()  # the run's span: Beam launches in threads
        self.run = ""  # its name, once a node was launched
        # The first node that failed, and its error, which a runner may wrap.
        self.failure: tuple[str, BaseException] | None = None

    def launch(self, pipeline: pipeline_pb2.Pipeline, node: pipeline_pb2.PipelineNode) -> None:
        self._context.copy().run(self._show, pipeline, node)

    def _show(self, pipeline: pipeline_pb2.Pipeline, node: pipeline_pb2.PipelineNode) -> None:
        node_id = node.node_info.id
        self.run = pipeline.runtime_spec.pipeline_run_id.field_value.string_value
        names = {"pipeline": self._config.name, "run": self.run, "node": node_id}
        with telemetry.span(node_id, {f"darkroom.{key}": name for key, name in names.items()}):
            try:
                self._display.started(node_id)
                interrupts.go_on()
                state, result = self._launch(pipeline, node)
                telemetry.note({"darkroom.state": state, "darkroom.result": result})
                self._display.ended(node_id, state, result)
            except BaseException as error:
                interrupted = was_interrupted(error)
                cause = KeyboardInterrupt() if interrupted else error
                state = "interrupted" if interrupted else "failed"
                telemetry.note({"darkroom.state": state})
                telemetry.fail(explain(cause))
                if self.failure is None:
                    self.failure = (node_id, cause)
                    self._display.ended(node_id, state)
                raise

    def _launch(
        self, pipeline: pipeline_pb2.Pipeline, node: pipeline_pb2.PipelineNode
    ) -> tuple[str, str]:
        node_id, runtime = node.node_info.id, pipeline.runtime_spec
        remote.plug_in(runtime.pipeline_root.field_value.string_value)
        deployment = runner_utils.extract_local_deployment_config(pipeline)
        stores = deployment.metadata_connection_config
        connection = Metadata(getattr(stores, stores.WhichOneof("connection_config")))
        execution = launcher.Launcher(
            pipeline_node=node,
            mlmd_connection=connection,
            pipeline_info=pipeline.pipeline_info,
            pipeline_runtime_spec=runtime,
            executor_spec=runner_utils.extract_executor_spec(deployment, node_id),
            custom_driver_spec=runner_utils.extract_custom_driver_spec(deployment, node_id),
            custom_executor_operators=staging.OPERATORS,
        ).launch()
        with connection as metadata:
            ran = lineage.node(metadata.store, execution.execution_id)
            if ran.state == "complete" and not ran.is_resolver:
                inventory.note_files(metadata.store, ran)
            if not self._is_noted:  # now there is a run to note on what `darkroom lineage` says
                run = lineage.run_of(metadata.store, execution.execution_id)
                settings = NodeSettings(self._config)
                codes = {node_id: settings.code(node_id) for node_id in self._node_ids}
                sources = {id_: code.fingerprint for id_, code in codes.items() if code.modules}
                tree = self._config.model_dump()
                lineage.RunNotes(tree, environment.describe(), sources).write(run)
                metadata.store.put_contexts([run])
                self._is_noted = True
        if ran.state == "failed":
            # TFX publishes this and goes on, with every later node failing the same way.
            raise RuntimeError(f"{node_id}: its inputs could not be resolved")
        status = Status(self._config.name, str(self._config.home), "")
        return ran.state, nodes.read_outputs(status, node_id, ran.made)


class SequentialRunner(local_dag_runner.LocalDagRunner):
    """TFX's LocalDagRunner with another launcher: nodes one after the other, or one of them."""

    def __init__(self, launch: Launch, run: str = "", node: str = ""):
        super().__init__()
        self._launch, self._node = launch, node
        self._run = run or datetime.datetime.now().isoformat()

    def run_with_ir(self, pipeline: pipeline_pb2.Pipeline, run_options: object = None) -> None:
        runtime_parameter_utils.substitute_runtime_parameter(
            pipeline, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: self._run}
        )
        for node in (one.pipeline_node for one in pipeline.nodes):
            if self._node in ("", node.node_info.id):
                if self._node:
                    # TFX takes the execution that has the same contexts (pipeline, run and node)
                    # for this one, and doesn't run a node again that failed in a run. So this try
                    # is a context, too.
                    attempt = node.contexts.contexts.add()
                    attempt.type.name = "try"
                    attempt.name.field_value.string_value = f"{self._node} {time.time_ns()}"
                self._launch(pipeline, node)
