"""The Resolver node's question: which model is the one to beat?"""

from tfx import types
from tfx.dsl.components.common import resolver
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import (
    LatestBlessedModelStrategy,
)


class LatestBlessedBefore(resolver.ResolverStrategy):
    """The latest blessed model that is not the candidate itself.

    TFX's LatestBlessedModelStrategy resolves to the candidate as soon as that is blessed, so an
    unchanged second run would compare the model with itself, and would never be cached.
    """

    def resolve_artifacts(
        self, store: object, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]]:
        """Picks from the artifacts of ``model`` and ``model_blessing``, leaving ``candidate`` out.

        Args:
          store: the metadata store, not used.
          input_dict: all models, all blessings, and the candidate model of this run.
        """
        candidates = {artifact.id for artifact in input_dict["candidate"]}
        others = {
            "model": [m for m in input_dict["model"] if m.id not in candidates],
            "model_blessing": input_dict["model_blessing"],
        }
        baseline = LatestBlessedModelStrategy().resolve_artifacts(store, others)
        return {**(baseline or {key: [] for key in others}), "candidate": input_dict["candidate"]}
