"""What a model's answers are of: its classes, and whether an image has several of them."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar


@dataclass(frozen=True)
class Contract:
    """Is written beside an exported model, for all that compare or use its answers."""

    FILE: ClassVar = os.path.join("assets.extra", "contract.json")  # below the model's folder

    classes: tuple[str, ...] = ()  # in the order of the outputs; none where another wrote the model
    multi_label: bool = False  # whether an image has any number of them
    numbers: bool = False  # whether these are the names of numbers, of which an image has each

    @classmethod
    def parse(cls, text: str | bytes) -> "Contract":
        """What a file says."""
        values = json.loads(text)
        kinds = (values.get(key, False) for key in ("multi_label", "numbers"))
        return cls(tuple(values.get("classes", ())), *kinds)

    @classmethod
    def read(cls, folder: Path) -> "Contract":
        """That of a model in a folder on this machine; an empty one where it has none."""
        try:
            return cls.parse((folder / cls.FILE).read_bytes())
        except (OSError, ValueError):
            return cls()

    def write(self, folder: Path) -> None:
        """Beside the model in a folder."""
        (folder / self.FILE).write_text(json.dumps(asdict(self), indent=2), encoding="utf-8")

    def obstacle(self, other: "Contract") -> str:
        """Why one evaluation can't judge this model and another; empty where it can."""
        if not other.classes:
            return "it doesn't say what its classes are"
        if self.numbers != other.numbers:
            its, ours = ("numbers", "classes")[:: 1 if other.numbers else -1]
            return f"it says {its} of an image, and this model {ours}"
        if self.numbers:
            apart = set(self.classes) != set(other.classes)
            return f"its numbers are {', '.join(other.classes)}" if apart else ""
        if self.multi_label != other.multi_label:
            its, ours = ("any number of classes", "one class")[:: 1 if other.multi_label else -1]
            return f"it gives an image {its}, and this model {ours}"
        if len(set(self.classes) & set(other.classes)) < 2:
            return "they have fewer than two classes in common"
        return ""
