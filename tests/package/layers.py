"""The layers of the tree, checked: `python tests/package/layers.py [ROOT]`.

A room uses only those that stand before it in its list, and no two files use each other, however
many steps it takes.  For C what counts is what a file includes, and the symbols that its object
needs and another's defines; for Python what a module imports, also inside a function, but not what
it imports for type checkers only.  Prints what is wrong; exit status 1 if anything is.

An imported module drags in the packages that it lies in, but they count only as what they are
themselves: the root package hands out the public names, and everything lies in it.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

# From the ground up.
C_ROOMS = ("", "process", "memory", "wait", "primitives", "names", "binding")
# Headers that only the files of their own room may include.
INNER_HEADERS = ("memory/inside.h",)
# Each entry: the modules of one layer, as first words of their names below the package.
PYTHON_LAYERS = (
    ("_version", "_core", "_directories", "_later", "_text"),
    ("_streams", "_arguments"),
    ("_arena", "_owner", "_clean"),
    ("synchronize",),
    ("context",),
    ("dropin",),
    ("",),  # the package itself
    ("doctor", "locks"),
    ("bench",),
    ("__main__",),
)

Graph = Mapping[str, Iterable[str]]


def main() -> int:
    """Check the tree given as an argument, by default the one this file lies in."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", nargs="?", default=Path(__file__).resolve().parents[2], type=Path)
    root = parser.parse_args().root
    problems = [*check_c(root / "csrc"), *check_python(root / "src" / "altsem")]
    for problem in problems:
        print(problem)
    return 1 if problems else 0


def check_graph(graph: Graph, layer: Mapping[str, int]) -> Iterator[str]:
    """What is wrong with who uses whom, in words."""
    for user, used in sorted(graph.items()):
        for name in sorted(set(used)):
            if layer[name] > layer[user]:
                yield f"{user} uses {name}, which lies in a layer above"
    try:
        TopologicalSorter({user: set(used) - {user} for user, used in graph.items()}).prepare()
    except CycleError as error:
        yield "circle: " + " -> ".join(reversed(error.args[1]))


# --- C --------------------------------------------------------------------------------------------


def check_c(csrc: Path) -> Iterator[str]:
    """The includes of all files, and the symbols of all objects."""
    files = {str(path.relative_to(csrc)): path for path in sorted(csrc.rglob("*.[ch]"))}
    layer = {name: C_ROOMS.index(name.rpartition("/")[0]) for name in files}
    includes: dict[str, list[str]] = {}
    for name, path in files.items():
        includes[name] = re.findall(r'^#include "(.*)"', path.read_text(), flags=re.MULTILINE)
        for included in includes[name]:
            if included not in files:
                yield f'{name} includes "{included}", which is no file below csrc/'
            elif included in INNER_HEADERS and Path(included).parent != Path(name).parent:
                yield f"{name} includes {included}, which is for its own room only"
    known = {name: [i for i in found if i in files] for name, found in includes.items()}
    problems = list(check_graph(known, layer))
    yield from problems
    if problems:
        return  # it may not even compile
    yield from check_graph(symbols(csrc, [n for n in files if n.endswith(".c")]), layer)


def symbols(csrc: Path, names: list[str]) -> Graph:
    """Which C file needs what another one defines, as the linker would find it."""
    compiler = shlex.split(os.environ.get("CC", "cc"))
    python = sysconfig.get_path("include")
    defines: dict[str, str] = {}
    needs: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            target = str(Path(folder, "one.o"))
            command = [*compiler, "-std=c11", "-O1", "-fPIC", f"-I{csrc}", f"-I{python}"]
            subprocess.run([*command, "-c", str(csrc / name), "-o", target], check=True)
            listing = subprocess.run(
                ["nm", "-g", target], check=True, capture_output=True, text=True
            ).stdout
            needs[name] = []
            for line in listing.splitlines():
                kind, symbol = line.split()[-2:]
                if kind == "U":
                    needs[name].append(symbol)
                else:
                    defines[symbol] = name
    return {name: [defines[s] for s in found if s in defines] for name, found in needs.items()}


# --- Python ---------------------------------------------------------------------------------------


def check_python(package: Path) -> Iterator[str]:
    """The imports of all modules of the package, inside functions too."""
    modules = {module_name(path, package): path for path in sorted(package.rglob("*.py"))}
    modules["_core"] = package / "_core.pyi"
    layer: dict[str, int] = {}
    for name in modules:
        first = name.partition(".")[0]
        found = [i for i, words in enumerate(PYTHON_LAYERS) if first in words]
        if not found:
            yield f"{name or 'the package'} is in no layer: PYTHON_LAYERS has to name it"
        layer[name] = found[0] if found else 0
    graph = {
        name: set(imports(ast.parse(path.read_text()), name, path, modules)) - {name}
        for name, path in modules.items()
    }
    yield from check_graph(graph, layer)


def module_name(path: Path, package: Path) -> str:
    """Below the package: "context.adopt"; "" is the package itself."""
    parts = list(path.relative_to(package).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree: ast.AST, name: str, path: Path, modules: Mapping[str, Path]) -> Iterator[str]:
    """The modules of the package that one imports, by relative imports: there are no others."""
    parents = name.split(".") if name else []
    if path.stem != "__init__":
        parents = parents[:-1]
    for node in code_that_runs(tree):
        if not isinstance(node, ast.ImportFrom) or node.level == 0:
            continue
        base = parents[: len(parents) - (node.level - 1)]
        module = ".".join([*base, node.module] if node.module else base)
        for alias in node.names:
            full = f"{module}.{alias.name}".lstrip(".")
            yield full if full in modules else module


def code_that_runs(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only type checkers see."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            for other in child.orelse:
                yield other
                yield from code_that_runs(other)
            continue
        yield child
        yield from code_that_runs(child)


if __name__ == "__main__":
    sys.exit(main())
