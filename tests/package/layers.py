"""The layers of the tree, checked: `python tests/package/layers.py [ROOT]`.

A room uses only those that stand before it in its list, and no two files use each other, however
many steps it takes.  For C what counts is what a file includes, however it is written and under
whatever condition, and the symbols that its object needs and another's defines; for Python what a
module imports, also inside a function, but not what it imports for type checkers only.  What cannot
be followed is refused: a file that a macro names, the package by its full name.  Modules of which
not even the end of the name is written down are not seen.  Prints what is wrong; exit status 1 if
anything is.

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
C_ROOMS = ("", "process", "memory", "wait", "primitives", "names", "preload", "binding")
# Headers that only the files of their own room may include.
INNER_HEADERS = ("memory/inside.h",)
# The options of the compiler with which there is other code: what is shipped, what the tests build.
BUILDS = (("-DNDEBUG",), ("-DALTSEM_TEST_BUILD",))
# Each entry: the modules of one layer, as first words of their names below the package.
PYTHON_LAYERS = (
    ("_version", "_core", "_directories", "_guarded", "_later", "_text"),
    ("_streams", "_arguments"),
    ("_arena", "_owner", "_death", "_clean"),
    ("synchronize",),
    ("context",),
    ("dropin",),
    ("",),  # the package itself
    ("doctor", "locks"),
    ("bench",),
    ("__main__",),
)
# Conditions under which only a type checker reads on.
TYPE_CHECKING = ("TYPE_CHECKING", "typing.TYPE_CHECKING")

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
    layer: dict[str, int] = {}
    problems: list[str] = []
    for name in files:
        room = name.rpartition("/")[0]
        if room not in C_ROOMS:
            problems.append(f"{name} is in no layer: C_ROOMS has to name it")
        layer[name] = C_ROOMS.index(room) if room in C_ROOMS else 0
    known: dict[str, list[str]] = {}
    for name, path in files.items():
        known[name] = []
        for written in includes(path.read_text()):
            included = written[1:-1]
            if written[0] not in '<"':
                problems.append(f"{name} includes {written}: a macro hides which file that is")
            elif included in files:
                known[name].append(included)
                if included in INNER_HEADERS and Path(included).parent != Path(name).parent:
                    problems.append(f"{name} includes {included}, which is for its own room only")
            elif written[0] == '"':
                problems.append(f"{name} includes {written}, which is no file below csrc/")
            elif included == "Python.h" and layer[name] < C_ROOMS.index("binding"):
                problems.append(f"{name} includes {written}, which only binding/ may")
    problems += check_graph(known, layer)
    yield from problems
    if problems:
        return  # it may not even compile
    sources = [name for name in files if name.endswith(".c")]
    found: list[str] = []
    try:
        for options in BUILDS:
            found += check_graph(symbols(csrc, sources, options), layer)
    except subprocess.CalledProcessError as error:
        yield f"this fails: {shlex.join(error.cmd)}"
        return
    yield from dict.fromkeys(found)


def includes(text: str) -> Iterator[str]:
    """What the include directives of a C file say, with its quotes or angle brackets."""
    text = text.replace("\\\n", "")
    # Comments go; strings stay, and what looks like a comment in them.
    text = re.sub(
        r'("(?:\\.|[^"\\\n])*")|/\*.*?\*/|//[^\n]*',
        lambda match: match[1] or " ",
        text,
        flags=re.DOTALL,
    )
    for match in re.finditer(
        r"^\s*(?:#|%:)\s*(?:include|include_next|import)\b\s*(.*?)\s*$", text, flags=re.MULTILINE
    ):
        yield match[1]


def symbols(csrc: Path, names: list[str], options: Iterable[str]) -> Graph:
    """Which C file needs what another one defines, as the linker would find it."""
    compiler = shlex.split(os.environ.get("CC", "cc"))
    python = sysconfig.get_path("include")
    # What an inline function of a header needs, also the files need that do not call it.
    kept = "-Dinline=__attribute__((used))"
    defines: dict[str, str] = {}
    needs: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            target = str(Path(folder, "one.o"))
            command = [*compiler, "-std=c11", "-O1", "-fPIC", f"-I{csrc}", f"-I{python}", "-w"]
            command += [kept, *options, "-c", str(csrc / name), "-o", target]
            subprocess.run(command, check=True)
            listing = subprocess.run(
                ["nm", "-g", target], check=True, capture_output=True, text=True
            ).stdout
            needs[name] = []
            for line in listing.splitlines():
                kind, symbol = line.split()[-2:]
                if kind in "Uwv":  # the latter: needed if there is one
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
    graph: dict[str, set[str]] = {}
    for name, path in modules.items():
        graph[name] = set()
        for used in imports(ast.parse(path.read_text()), name, path, modules):
            if used in modules:
                graph[name].add(used)
            else:
                yield f"{name or 'the package'} imports {used}, which is no module of the package"
    yield from check_graph({name: used - {name} for name, used in graph.items()}, layer)
    # Rooms of one layer stand side by side: they do not use each other in turn either.
    rooms: dict[str, set[str]] = {}
    for name, found in graph.items():
        rooms.setdefault(name.partition(".")[0], set()).update(u.partition(".")[0] for u in found)
    yield from check_graph(rooms, dict.fromkeys(rooms, 0))


def module_name(path: Path, package: Path) -> str:
    """Below the package: "context.adopt"; "" is the package itself."""
    parts = list(path.relative_to(package).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree: ast.AST, name: str, path: Path, modules: Mapping[str, Path]) -> Iterator[str]:
    """The modules of the package that one imports; else, what it says instead of one."""
    parents = name.split(".") if name else []
    if path.stem != "__init__":
        parents = parents[:-1]
    for node in code_that_runs(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if of_the_package(alias.name))
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            if node.module and of_the_package(node.module):
                yield node.module
        elif isinstance(node, ast.ImportFrom):
            base = parents[: len(parents) - (node.level - 1)]
            module = ".".join([*base, node.module] if node.module else base)
            for alias in node.names:
                full = f"{module}.{alias.name}".lstrip(".")
                yield full if full in modules else module
        elif isinstance(node, ast.Call) and node.args:
            function = ast.unparse(node.func).rpartition(".")[2]
            if function in ("import_module", "__import__", "Later"):
                yield from named(node.args[0], parents, modules)


def of_the_package(module: str) -> bool:
    """Named in full, which a vendored copy must not do: it has another name."""
    return module.partition(".")[0] == "altsem"


def named(argument: ast.expr, parents: list[str], modules: Mapping[str, Path]) -> Iterator[str]:
    """The module that a function imports, told by how its name ends."""
    end = argument
    if isinstance(end, ast.BinOp):
        end = end.right
    elif isinstance(end, ast.JoinedStr) and end.values:
        end = end.values[-1]
    if not isinstance(end, ast.Constant) or not isinstance(end.value, str):
        return
    text = end.value
    module = text.lstrip(".")
    if end is argument and module == text:
        if of_the_package(text):
            yield text
        return
    # As a relative one it counts its dots; after a computed beginning, that is a package of ours.
    above = parents[: len(parents) - (len(text) - len(module) - 1)]
    inside = ".".join([*above, module])
    yield inside if end is argument or inside in modules else module


def code_that_runs(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only type checkers see."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and ast.unparse(child.test) in TYPE_CHECKING:
            for other in child.orelse:
                yield other
                yield from code_that_runs(other)
            continue
        yield child
        yield from code_that_runs(child)


if __name__ == "__main__":
    sys.exit(main())
