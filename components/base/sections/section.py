"""What every section of the configuration is."""

from pydantic import BaseModel, ConfigDict
from typing_extensions import Self


class Section(BaseModel):
    """A branch of the tree: immutable, no unknown keys, no silent conversion of types."""

    model_config = ConfigDict(
        defer_build=True,  # the whole tree builds its parts; alone most are never needed
        extra="forbid",
        frozen=True,
        strict=True,
    )

    def changed(self, path: str, value: object) -> Self:
        """A copy with another value, unchecked, at a key or at ``units.0``, if it has it."""
        name, *places = path.split(".")
        if name not in type(self).model_fields:
            return self
        return self.model_copy(update={name: _replaced(getattr(self, name), places, value)})


def _replaced(entries: object, places: list[str], value: object) -> object:
    if not places:
        return value
    place, *deeper = places
    if not isinstance(entries, list) or place not in map(str, range(len(entries))):
        return entries
    number = int(place)
    replaced = _replaced(entries[number], deeper, value)
    return [*entries[:number], replaced, *entries[number + 1 :]]
