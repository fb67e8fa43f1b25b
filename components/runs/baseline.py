"""The Resolver nodes: which model is the one to beat, and which data were the last."""

from tfx import types
from tfx.dsl.components.common import resolver
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import (
    LatestBlessedModelStrategy,
)
from tfx.utils import path_utils

from darkroom.components.runs.contract import comparable, contract


class LatestBlessedBefore(resolver.ResolverStrategy):
    """The latest blessed model that is not the candidate itself, and can be compared with it.

    TFX's LatestBlessedModelStrategy resolves to the candidate as soon as that is blessed, so an
    unchanged second run would compare the model with itself, and would never be cached. A model
    of other classes is compared on those that both have; one without two of them can't be.
    """

    def resolve_artifacts(
        self, store: object, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]]:
        """Picks from the artifacts of ``model`` and ``model_blessing``, leaving ``candidate`` out.

        Args:
          store: the metadata store, not used.
          input_dict: all models, all blessings, and the candidate model of this run.
        """
        [candidate] = input_dict["candidate"]
        own = contract(path_utils.serving_model_path(candidate.uri))
        others = {
            "model": [
                model
                for model in input_dict["model"]
                if model.id != candidate.id
                and comparable(contract(path_utils.serving_model_path(model.uri)), own)
            ],
            "model_blessing": input_dict["model_blessing"],
        }
        baseline = LatestBlessedModelStrategy().resolve_artifacts(store, others)
        return {**(baseline or {key: [] for key in others}), "candidate": [candidate]}


class LatestBefore(resolver.ResolverStrategy):
    """The latest artifact that is older than this run's own, the ``candidate``.

    An unchanged run so resolves to what the run before it did, and stays cached.
    """

    def resolve_artifacts(
        self, store: object, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]]:
        """Picks from the artifacts of each key.

        Args:
          store: the metadata store, not used.
          input_dict: all artifacts by key, and the candidate.
        """
        [candidate] = input_dict["candidate"]
        chosen = {"candidate": [candidate]}
        for key, artifacts in input_dict.items():
            if key != "candidate":
                older = [artifact for artifact in artifacts if artifact.id < candidate.id]
                chosen[key] = sorted(older, key=lambda artifact: artifact.id)[-1:]
        return chosen
