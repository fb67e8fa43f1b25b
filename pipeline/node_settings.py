"""What each node gets: its sections of the configuration, and the fingerprint of its code."""

from collections.abc import Callable

from darkroom.components import nodes
from darkroom.components.base import remote
from darkroom.components.base.settings import Code, FolderSettings, Settings
from darkroom.pipeline import fingerprint
from darkroom.pipeline.config import Config


class NodeSettings:
    """Makes the settings of nodes, as ``components.nodes`` says what each of them uses."""

    def __init__(self, config: Config, in_containers: bool = False):
        self._config, self._in_containers = config, in_containers

    def of(self, node_id: str) -> Settings:
        node, config = nodes.BY_ID[node_id], self._config
        assert node.settings is not None
        keys = node.settings.model_fields.keys()
        # Keys of one of these, or whole sections.
        owners = (config.serving, config.judged, config.network, config.data, config)
        values = {k: getattr(o, k) for o in owners for k in keys & type(o).model_fields.keys()}
        # Files are read for the nodes alone that get what is in them.
        made: dict[str, Callable[[], object]] = {
            "code": lambda: self.code(node_id),
            "class_names": config.class_names,
            "schema_text": config.schema_text,
            "model": lambda: config.network,
            "evaluation": lambda: config.judged,
            "judges_chose": lambda: config.judges_chose,
            # Values make a node, whoever chose them.
            "training": lambda: config.training.model_copy(update={"recipe": "none"}),
            "weights": self._weights,
            "batch_size": lambda: config.training.batch_size,
            "config": lambda: config.reported,
            "store": lambda: None if self._in_containers else config.store.model_dump_json(),
        }
        values |= {key: make() for key, make in made.items() if key in keys}
        if node.resume_modules:
            modules = self._modules(node.resume_modules, node.user_code)
            # Beside a container's artifacts nothing outlives it; on a volume it does.
            on_volume = self._in_containers and not remote.is_remote(config.root)
            values["source"] = fingerprint.of_modules(*modules)
            values["unfinished"] = f"{config.base}/unfinished" if on_volume else None
        return node.settings.model_validate({key: values[key] for key in keys})

    def folder(self, node_id: str, uri: str) -> FolderSettings | None:
        """Settings of a node that looks in a folder; None where it can ask ML Metadata instead."""
        if not self._in_containers:
            return None
        return FolderSettings(code=self.code(node_id), folder=uri)

    def code(self, node_id: str) -> Code:
        """The code that decides what a node makes; without modules where that is TFX's alone."""
        node = nodes.BY_ID[node_id]
        if not node.modules:
            return Code()
        modules = self._modules(node.modules, node.user_code)
        return Code(modules=modules, fingerprint=fingerprint.of_modules(*modules))

    def _modules(self, ours: tuple[str, ...], sections: tuple[str, ...]) -> list[str]:
        theirs = [
            path.rpartition(".")[0]
            for key, path in self._config.user_code.items()
            if key.partition(".")[0] in sections
        ]
        if "evaluation" in sections:
            metrics = self._config.evaluation.metrics.values()
            theirs += [metric.module for metric in metrics if metric.module is not None]
        return [*(f"darkroom.{module}" for module in ours), *theirs]

    def _weights(self) -> str | None:
        """The file may be another one by the next run. What containers see, this may not."""
        source = self._config.model.weights
        if source in (None, "imagenet") or (self._in_containers and not remote.exists(source)):
            return source
        return fingerprint.of_files(str(remote.fetch(source, anew=True)))
