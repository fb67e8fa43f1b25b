"""Hashes of the code that a node runs and of files that it reads, for TFX's cache key.

TFX names code by dotted path and doesn't look into it: without this, edited code would silently
reuse what the old code made.
"""

import ast
import functools
import hashlib
import importlib.util
import sysconfig
from importlib import metadata
from pathlib import Path

# Sources of ours, where they are installed as well as where they are worked on.
_OWN = {"darkroom"}
# What the results depend on besides our own and the user's sources.
_LIBRARIES = (
    "tfx",
    "tensorflow",
    "tensorflow-transform",
    "tensorflow-model-analysis",
    "tensorflow-data-validation",
    "keras",
    "keras-tuner",
)


def of_modules(*modules: str) -> str:
    """Hashes the sources of modules and of all that they import which is no installed library.

    The templates of a package belong to its sources.

    Args:
      modules: dotted module names; they are found in the file system, not imported.

    Returns:
      16 hexadecimal digits.
    """
    digest = hashlib.sha256()
    sources: dict[str, bytes] = {}
    own = {name.split(".")[0] for name in modules} | _OWN
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        path = _find(name)
        top = name.split(".")[0]
        if name in sources or path is None or (top not in own and _is_library(path)):
            continue
        sources[name] = path.read_bytes()
        if path.name == "__init__.py":
            templates = sorted(path.parent.glob("*.jinja"))
            sources |= {f"{name}/{found.name}": found.read_bytes() for found in templates}
        waiting.extend(_imports(name, path.name == "__init__.py", sources[name]))
        waiting.append(name.rpartition(".")[0])  # importing a module runs its package too
    for name in sorted(sources):
        digest.update(f"{name}\0{len(sources[name])}\0".encode() + sources[name])
    for library in _LIBRARIES:
        digest.update(f"{library}=={_version(library)}\0".encode())
    return digest.hexdigest()[:16]


def of_files(path: str) -> str:
    """Hashes what a file holds, or all files of a folder; 16 hexadecimal digits."""
    digest = hashlib.sha256()
    files = sorted(p for p in Path(path).rglob("*") if p.is_file()) or [Path(path)]
    for file in files:
        digest.update(f"{file.relative_to(path)}\0".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


@functools.cache  # the nodes of a graph share most of their sources
def _imports(name: str, is_package: bool, source: bytes) -> list[str]:
    """The modules that a module imports, and names that may be modules."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                # One dot is the package itself: of a package, its own name.
                parents = name.split(".")[: -(node.level - is_package) or None]
                base = ".".join([*parents, base] if base else parents)
            found += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return found


def _find(name: str) -> Path | None:
    """The source file of a module, without importing its packages."""
    top, *rest = name.split(".")
    try:
        spec = importlib.util.find_spec(top) if top else None
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not rest:
        return Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None
    for location in spec.submodule_search_locations or []:
        inside = Path(location, *rest)
        for path in (inside / "__init__.py", inside.with_suffix(".py")):
            if path.is_file():
                return path
    return None


def _is_library(path: Path) -> bool:
    """Whether a source is Python's own or an installed library's: its version tells enough."""
    return any(path.is_relative_to(folder) for folder in _library_folders())


@functools.cache
def _library_folders() -> set[str]:
    return {sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")}


@functools.cache
def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "none"
