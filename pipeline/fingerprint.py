"""A hash of the code that a node runs, for TFX's cache key.

TFX names code by dotted path and doesn't look into it: without this, edited code would silently
reuse what the old code made.
"""

import ast
import hashlib
import importlib.util
from collections.abc import Iterator
from importlib import metadata

# What the results depend on besides our own and the user's sources.
_LIBRARIES = ("tfx", "tensorflow", "tensorflow-transform", "keras")


def fingerprint(*modules: str) -> str:
    """Hashes the sources of modules and of what they import from their own top-level packages.

    Args:
      modules: dotted module names; they are found, not imported (their parent packages are).

    Returns:
      16 hexadecimal digits.
    """
    digest = hashlib.sha256()
    sources = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        source = _source(name)
        if name in sources or source is None:
            continue
        sources[name] = source
        waiting.extend(_imports(name, source))
        waiting.append(name.rpartition(".")[0])  # importing a module runs its package too
    for name in sorted(sources):
        digest.update(f"{name}\0{len(sources[name])}\0".encode() + sources[name])
    for library in _LIBRARIES:
        digest.update(f"{library}=={_version(library)}\0".encode())
    return digest.hexdigest()[:16]


def _imports(name: str, source: bytes) -> Iterator[str]:
    """Modules of the same top-level package that a module imports; some may be no modules."""
    package = name.split(".")[0]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = name.split(".")[: -node.level]
                base = ".".join([*parents, base] if base else parents)
            found = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (module for module in found if module.split(".")[0] == package)


def _source(name: str) -> bytes | None:
    if not name:
        return None
    try:
        spec = importlib.util.find_spec(name)
    except (ModuleNotFoundError, ValueError):
        return None  # a name that is a class or function of its module
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    with open(spec.origin, "rb") as file:
        return file.read()


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "none"
