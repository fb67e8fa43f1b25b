"""A JSON file in the folder of an artifact: one class writes it and reads it. Light to import."""

import json
import os
from typing import ClassVar

from pydantic import BaseModel, ConfigDict
from typing_extensions import Self

from darkroom.components.base import remote
from darkroom.serving import files


class ArtifactFile(BaseModel):
    """What a node leaves for others; fields that came later have defaults, for older files."""

    FILE: ClassVar[str]
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    @classmethod
    def read(cls, uri: str) -> Self:
        """Reads an artifact's file; raises FileNotFoundError, or a ValueError where it is bad."""
        text = remote.file(uri, cls.FILE).read_text(encoding="utf-8")
        return cls.model_validate(json.loads(text))  # which knows NaN

    def write(self, folder: str) -> None:
        os.makedirs(folder, exist_ok=True)
        files.write_json(os.path.join(folder, self.FILE), self.model_dump(by_alias=True))
