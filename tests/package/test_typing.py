"""What the stubs say is what there is, and the names that altsem offers are all there."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import altsem
from altsem import _core

STUB = Path(_core.__file__).with_name("_core.pyi")


def declared() -> dict[str, ast.stmt]:
    return {
        node.name: node
        for node in ast.parse(STUB.read_text()).body
        if isinstance(node, (ast.ClassDef, ast.FunctionDef))
    }


def members(node: ast.ClassDef) -> dict[str, ast.stmt]:
    found: dict[str, ast.stmt] = {}
    for each in node.body:
        if isinstance(each, ast.FunctionDef):
            found[each.name] = each
        elif isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
            found[each.target.id] = each
    return found


def public(thing: Any) -> set[str]:
    return {name for name in vars(thing) if not name.startswith("__")}


CLASSES = sorted(name for name, node in declared().items() if isinstance(node, ast.ClassDef))


def test_every_name_of_the_module_is_declared() -> None:
    assert public(_core) == set(declared())


@pytest.mark.parametrize("name", CLASSES)
def test_every_member_of_a_class_is_declared(name: str) -> None:
    node = declared()[name]
    assert isinstance(node, ast.ClassDef)
    cls = getattr(_core, name)
    stated = members(node)
    assert {base.id for base in node.bases if isinstance(base, ast.Name)} == {
        base.__name__ for base in cls.__bases__ if base is not object
    }
    for member in stated:
        assert hasattr(cls, member), member
    inherited = {m for base in cls.__mro__[1:] for m in public(base)}
    assert public(cls) - inherited == {m for m in stated if not m.startswith("__")} - inherited


@pytest.mark.parametrize("name", CLASSES)
def test_the_arguments_are_as_declared(name: str) -> None:
    """Of whatever has a signature that can be read."""
    node = declared()[name]
    assert isinstance(node, ast.ClassDef)
    for member, stated in members(node).items():
        attribute = inspect.getattr_static(getattr(_core, name), member)
        if not isinstance(stated, ast.FunctionDef) or stated.decorator_list:
            continue
        try:
            parameters = inspect.signature(attribute).parameters.values()
        except (ValueError, TypeError):
            continue
        if any(p.kind is p.VAR_POSITIONAL for p in parameters) or member.startswith("__"):
            continue
        positional = [a.arg for a in stated.args.posonlyargs if a.arg != "self"]
        by_name = [a.arg for a in stated.args.args if a.arg != "self"]
        found = [p for p in parameters if p.name != "self"]
        only = [p for p in found if p.kind is p.POSITIONAL_ONLY]
        # What can only be given by position may be called anything.
        assert len(only) == len(positional), f"{name}.{member}"
        assert [p.name for p in found if p not in only] == by_name, f"{name}.{member}"


def test_all_is_all() -> None:
    for name in altsem.__all__:
        assert getattr(altsem, name) is not None
    assert set(altsem.__all__) <= set(dir(altsem))
    namespace: dict[str, object] = {}
    exec("from altsem import *", namespace)
    assert set(altsem.__all__) <= set(namespace)
    with pytest.raises(AttributeError, match="module 'altsem' has no attribute 'nothing'"):
        altsem.nothing  # noqa: B018
    with pytest.raises(ImportError):
        exec("from altsem import nothing")


def test_classes_are_named_by_where_they_are() -> None:
    for name in CLASSES:
        cls = getattr(_core, name)
        assert (cls.__module__, cls.__qualname__) == ("altsem._core", name)
    for name in ("Lock", "RLock", "Semaphore", "BoundedSemaphore", "Event", "Condition", "Barrier"):
        cls = getattr(altsem, name)
        assert (cls.__module__, cls.__qualname__) == ("altsem.synchronize", name)


def test_what_is_public_is_documented() -> None:
    for name in altsem.__all__:
        thing = getattr(altsem, name)
        if name == "__version__":
            continue
        assert inspect.getdoc(thing), name
        if inspect.isclass(thing):
            for member in vars(thing):
                attribute = getattr(thing, member)
                if not member.startswith("_") and callable(attribute):
                    assert inspect.getdoc(attribute), f"{name}.{member}"


# --- annotations, evaluated ----------------------------------------------------------------------

HINTS = """
import sys
sys.modules["typing_extensions"] = None  # whoever imports it fails
import importlib, inspect, typing
import altsem

def public(name):
    return not name.startswith("_") or name in ("__init__", "__enter__", "__exit__", "__repr__")

def annotated(thing):
    yield thing
    if inspect.isclass(thing):
        for base in thing.__mro__:
            if base.__module__.partition(".")[0] == "altsem":
                for name, member in vars(base).items():
                    member = getattr(member, "_ours", member)  # behind an attribute
                    member = getattr(member, "fget", member)
                    if public(name) and inspect.isfunction(member):
                        yield member

things = [altsem.get_context] if sys.argv[1] == "first" else [
    *(getattr(altsem, name) for name in altsem.__all__ if name != "__version__"),
    *(getattr(altsem.context, name) for name in (
        "AltsemContext", "ForkContext", "SpawnContext", "ForkServerContext", "ForkProcess",
        "SpawnProcess", "ForkServerProcess", "get_context", "register")),
    importlib.import_module("altsem._owner").Owner,
]
seen = 0
for thing in things:
    for each in annotated(thing):
        if inspect.isclass(each) or inspect.isfunction(each):
            typing.get_type_hints(each)
            seen += 1
print(seen)
for name in sys.argv[2:]:
    where, _, member = name.rpartition(".")
    print(typing.get_type_hints(getattr(eval(where), member)))
"""


def test_annotations_can_be_evaluated(run_script: Any) -> None:
    """Also where there is no typing_extensions, and before anything else has been asked for."""
    assert run_script(HINTS, "first").stdout == "1\n"
    done = run_script(HINTS, "all", "altsem.context.AltsemContext.Barrier", "altsem.get_context")
    assert done.stderr == ""
    seen, barrier, get_context = done.stdout.splitlines()
    assert int(seen) > 60
    assert "'return': <class 'altsem.synchronize.Barrier'>" in barrier
    assert "'action': typing.Optional[collections.abc.Callable" in barrier.replace(
        "collections.abc.Callable[[], object] | None",
        "typing.Optional[collections.abc.Callable[[], object]]",
    )
    assert "<class 'altsem.context.AltsemContext'>" in get_context


# --- what a type checker makes of it ------------------------------------------------------------


def test_a_type_checker_is_not_told_that_any_name_exists() -> None:
    """A `__getattr__` of the module says just that, unless it is kept from type checkers."""
    tree = ast.parse(Path(altsem.__file__).read_text())
    seen = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert "backend" in seen and "__getattr__" not in seen
    hidden = [
        function.name
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "not TYPE_CHECKING"
        for function in node.body
        if isinstance(function, ast.FunctionDef)
    ]
    assert hidden == ["__getattr__"]


def test_a_type_checker_finds_mistakes_and_knows_what_is_what(tmp_path: Path) -> None:
    """As `make lint` does: typed.py says what it must find."""
    pytest.importorskip("mypy")
    program = Path(__file__).with_name("typed.py")
    command = [sys.executable, "-m", "mypy", "--strict", f"--cache-dir={tmp_path}", str(program)]
    said = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=110)
    assert said.returncode == 0, said.stdout + said.stderr
