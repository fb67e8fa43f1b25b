"""Files that are whole or not there."""

import json
import os
from typing import Any


def write_json(path: str, value: Any) -> None:
    """Replaces a file in one step: whoever is killed while writing leaves the old one."""
    unfinished = f"{path}.{os.getpid()}.unfinished"
    with open(unfinished, "w", encoding="utf-8") as file:
        json.dump(value, file)
    os.replace(unfinished, path)


def read_json(path: str) -> Any:
    """What a file holds; None where there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return None
