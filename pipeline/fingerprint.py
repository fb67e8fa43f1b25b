"""Hashes of the code that a node runs and of files that it reads, for TFX's cache key.

TFX doesn't look into code that it names: edits would silently reuse what the old code made.
"""

import ast
import functools
import hashlib
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Iterator
from importlib import metadata
from importlib.machinery import ModuleSpec
from pathlib import Path

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
_LIBRARY_FOLDERS = {sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")}

# Fields of the syntax tree that hold statements, or what holds statements.
_BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")


def of_modules(*modules: str) -> str:
    """Hashes the code of modules and of all that they import which is no installed library.

    Comments, docstrings and format don't count; a package's templates do. 16 hexadecimal digits.
    """
    codes: dict[str, bytes] = {}
    own = {name.split(".")[0] for name in modules} | {"darkroom"}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        path = _find(name)
        top = name.split(".")[0]
        if name in codes or path is None:
            continue
        # The version tells enough of Python's own sources and of installed libraries.
        if top not in own and any(map(path.is_relative_to, _LIBRARY_FOLDERS)):
            continue
        is_package = path.name == "__init__.py"
        imports, codes[name] = _parse(name, is_package, path.read_bytes())
        if is_package:
            templates = sorted(path.parent.glob("*.jinja"))
            codes |= {f"{name}/{template.name}": template.read_bytes() for template in templates}
        waiting += [*imports, name.rpartition(".")[0]]  # importing a module runs its package too
    digest = hashlib.sha256()
    for name in sorted(codes):
        digest.update(f"{name}\0{len(codes[name])}\0".encode() + codes[name])
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
def _parse(name: str, is_package: bool, source: bytes) -> tuple[list[str], bytes]:
    """Modules, and names that may be modules; and the code without what changes nothing."""
    tree = ast.parse(source)
    imports = []
    for node in list(_strip(tree)):
        if isinstance(node, ast.Import):
            imports += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                # One dot is the package itself: of a package, its own name.
                parents = name.split(".")[: -(node.level - is_package) or None]
                base = ".".join([*parents, base] if base else parents)
            imports += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return imports, ast.dump(tree).encode()


def _strip(node: ast.AST) -> Iterator[ast.stmt]:
    """Removes docstrings, also those of attributes, and what is for type checkers alone.

    Yields every statement that is left. Expressions, nine tenths of a tree, aren't looked into.
    """
    for field in _BLOCKS:
        block, kept = getattr(node, field, None) or [], list[ast.AST]()
        for statement in block:
            match statement:
                case ast.Expr(value=ast.Constant(value=str())):
                    pass
                case ast.If(test=ast.Name(id="TYPE_CHECKING"), orelse=otherwise):
                    kept += otherwise
                case _:
                    kept.append(statement)
        block[:] = kept
        for statement in kept:
            if isinstance(statement, ast.stmt):
                yield statement
            yield from _strip(statement)


def _find(name: str) -> Path | None:
    top, *rest = name.split(".")
    spec = _package(top, tuple(sys.path))
    if spec is None:
        return None
    if not rest:
        return Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None
    inside = [os.path.join(folder, *rest) for folder in spec.submodule_search_locations or ()]
    paths = (path for at in inside for path in (os.path.join(at, "__init__.py"), f"{at}.py"))
    return next((Path(path) for path in paths if os.path.isfile(path)), None)


@functools.cache
def _package(top: str, search_path: tuple[str, ...]) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(top) if top else None
    except (ImportError, ValueError):
        return None


@functools.cache
def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "none"
