"""Files that are whole or not there."""

import errno
import json
import os
import socket
from typing import Any


def unfinished_path(path: str) -> str:
    """Where a process writes what is to be the file; several machines may see the folder."""
    return f"{path}.{socket.gethostname()}.{os.getpid()}.unfinished"


def write_json(path: str, value: Any) -> None:
    """Replaces a file in one step: whoever is killed while writing leaves the old one."""
    unfinished = unfinished_path(path)
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
    except OSError as error:
        if error.errno != errno.ESTALE:  # a network disk's, of a file that was just replaced
            raise
        return read_json(path)
