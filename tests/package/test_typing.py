"""What the stubs say is what there is, and the names that altsem offers are all there."""

from __future__ import annotations

import ast
import inspect
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
