"""Figures of sides that run in turns."""

from dataclasses import dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Turns:
    """Figures by name, of each side in each turn; sides run one after the other in a turn."""

    turns: list[dict[str, dict[str, Any]]]

    @property
    def sides(self) -> list[str]:
        """In the order in which they ran."""
        return list(self.turns[0])

    def median(self, side: str, key: str) -> float | None:
        """Over the turns; None where the side has no such figure."""
        values = [turn[side][key] for turn in self.turns if key in turn[side]]
        return median(values) if values else None

    def ratio(self, side: str, key: str, other: str, other_key: str | None = None) -> float:
        """The median of the ratios of each turn, as the machine's speed changes between turns."""
        return median(turn[side][key] / turn[other][other_key or key] for turn in self.turns)

    def rows(self, *keys: str, **ratios: tuple[str, str]) -> list[dict[str, Any]]:
        """A row of each side: medians, ratios, and the first figure of each turn.

        Args:
          keys: figures of which the medians are.
          ratios: of a figure, by its key, to that of another side.
        """
        return [
            {
                "side": side,
                **{key: self.median(side, key) for key in keys},
                **{name: self.ratio(side, *of) for name, of in ratios.items()},
                "runs": ", ".join(f"{turn[side][keys[0]]:.1f}" for turn in self.turns),
            }
            for side in self.sides
        ]
