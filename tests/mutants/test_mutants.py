"""`make mutants` on a tree with a few lines of C: it says killed of what its tests notice, survived
of what they miss, and keeps its list of explanations right."""

from __future__ import annotations

import re
import shutil
import textwrap
from pathlib import Path

import pytest

from mutants import explained
from mutants.__main__ import choose, main
from mutants.explained import ExplainedError
from mutants.operators import Mutant, mutants

TESTS = Path(__file__).resolve().parents[1]

C = """
/* if (a == b) altsem_wake(a, 1); is only a comment. */
int bigger(int a, int b) { return a > b; }
int missed(int a) { return a < 10; }
int until(int a) {
    int unused = 7;
    (void)unused;
    volatile long i = a;
    while (i != 5) i++;
    return (int)i;
}
"""
CONFTEST = """
import os
import sys
from pathlib import Path
import cffi, pytest

FLAGS = ("-O2",)

def interface():
    ffi = cffi.FFI()
    declared = "int bigger(int, int); int missed(int); int until(int);"
    ffi.cdef(declared)
    ffi.set_source("_altsem_core", declared)
    return ffi

@pytest.fixture
def lib():
    import importlib.util
    spec = importlib.util.spec_from_file_location("_altsem_core", os.environ["ALTSEM_TEST_CORE"])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.lib
"""
TEST = """
def test_bigger(lib):
    assert [lib.bigger(2, 1), lib.bigger(1, 1), lib.bigger(1, 2)] == [1, 0, 0]
def test_missed(lib):
    assert lib.missed(3)
def test_until(lib):
    assert lib.until(2) == 5
"""
SETS_UP = """
import time
import pytest
made = []
@pytest.fixture(scope="module", params=["a", "b"])
def library(request):
    made.append(request.param)
    assert len(made) <= 2, "no more of them fit into a process"
def test_slow(library):
    time.sleep(0.2)
def test_quick(library):
    pass
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for name, text in {
        "csrc/primitives/mini.c": C,
        "tests/core/__init__.py": "",
        "tests/core/conftest.py": CONFTEST,
        "tests/core/test_mini.py": TEST,
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "tests" / "beds").mkdir()
    shutil.copy(TESTS / "beds" / "alone", root / "tests" / "beds" / "alone")
    return root


def run(
    tree: Path, capsys: pytest.CaptureFixture[str], *only: str, entries: str = ""
) -> tuple[int, str]:
    listed = tree.parent / "explained.txt"
    listed.write_text(entries)
    before = {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()}
    status = main(
        [*only, "--all", "--grace=4", f"--root={tree}", f"--explained={listed}", "--jobs=2"]
    )
    assert {p: p.read_bytes() for p in tree.rglob("*") if p.is_file()} == before
    return status, capsys.readouterr().out


def outcomes(said: str) -> set[tuple[str, str, str]]:
    """(outcome, kind, the first word of the line that it is in)"""
    rows = re.findall(
        r"^ +[\d.]+ s  (.+?)  \[\w+\] csrc/primitives/mini\.c:(\d+) (\w+)", said, re.MULTILINE
    )
    return {(outcome, kind, line) for outcome, line, kind in rows}


@pytest.mark.limit(110)
def test_it_tells_what_is_noticed_from_what_is_missed(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, said = run(tree, capsys)
    found = outcomes(said)
    assert ("killed", "comparison", "3") in found, said
    assert ("survived", "comparison", "4") in found, said
    assert ("survived", "number", "4") in found, said
    assert ("the same code", "number", "6") in found, said
    assert ("killed", "comparison", "9") in found, said
    assert ("killed (time is up)", "arithmetic", "9") in found, "the way down to 5 is long"
    assert status == 1
    assert said.count("SURVIVED, and nothing explains it") == 3
    assert "int missed(int a) { return a <= 10; }" in said
    assert re.search(r"Fewer than 95 %", said)
    told = re.search(r"^(\d+) of (\d+) faults noticed", said, re.MULTILINE)
    assert told and int(told[2]) - int(told[1]) == 3, "what changes no instruction is not counted"
    assert "3 survived, 0 of them explained" in said

    # Now there is a list: an entry that is right, one that is wrong, one that fits no line.
    survivors = re.findall(r"^(\[\w+\] .*\n.*\n.*)\n    SURVIVED", said, re.MULTILINE)
    reasons = "\n\n".join(f"{each}\n    It is missed on purpose." for each in survivors)
    killed = re.search(r"killed  \[(\w+)\] (\S+) comparison", said)
    assert killed
    wrong = f"[{killed[1]}] {killed[2]} comparison\n  - \n  + \n    Nobody notices.\n\n"
    gone = "[00000000] csrc/primitives/mini.c:9 number\n  - \n  + \n    Once it was there.\n\n"
    status, said = run(tree, capsys, "comparison", entries=wrong + gone + reasons)
    assert status == 1
    assert said.count("explained: It is missed on purpose.") == 1
    assert "EXPLAINED, but killed: take it off the list" in said
    assert "EXPLAINED, but there is no such fault any more: Once it was there." in said
    assert "nothing explains it" not in said
    status, said = run(tree, capsys, survivors[0][1:9], entries=reasons)
    assert (status, said.count("explained: It is missed on purpose.")) == (0, 1)
    assert "0 of 1 faults noticed: 0.0 %" in said, "an explained one is not left out"
    assert "1 survived, 1 of them explained" in said


@pytest.mark.limit(110)
def test_what_a_file_sets_up_is_set_up_once_also_in_the_order_of_the_quickest(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else a test that fails for that would pass for one that notices every fault."""
    (tree / "tests" / "core" / "test_mini_sets_up.py").write_text(SETS_UP)
    _, said = run(tree, capsys, "comparison")
    assert ("survived", "comparison", "4") in outcomes(said), said


def test_where_no_test_was_run_nothing_is_called_killed(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those of this file are only run in part, and of that part there is none here."""
    (tree / "tests" / "core" / "test_mini.py").rename(tree / "tests" / "core" / "test_races.py")
    listed = tree.parent / "explained.txt"
    listed.write_text("")
    assert main(["comparison", f"--root={tree}", f"--explained={listed}"]) == 2
    said = capsys.readouterr().out
    assert "No test was run" in said and not outcomes(said)


@pytest.mark.parametrize(
    "text",
    [
        "[0123abcd] a.c:1 number\n  - a\n  + b\n",
        "[0123abcd] a.c:1 number\n    why\n",
        "a.c:1 number\n  - a\n  + b\n    why\n",
        "[0123abcd] a.c:1 x\n  - a\n  + b\n    why\n\n[0123abcd] a.c:1 x\n  - a\n  + b\n    why\n",
    ],
)
def test_an_entry_without_a_reason_or_twice_is_refused(text: str) -> None:
    with pytest.raises(ExplainedError):
        explained.read(text)


def test_the_real_list_can_be_read() -> None:
    explained.read(explained.FILE.read_text())


# --- what is planted ------------------------------------------------------------------------------


def planted(code: str, kind: str, path: str = "csrc/a.c") -> list[str]:
    found = [m for m in mutants(path, code) if m.kind == kind]
    assert all(m.apply(code) != code for m in found)
    return [m.after for m in found]


def function(body: str) -> str:
    return f"int wake_all(int a, int b) {{\n{textwrap.indent(body, '    ')}\n}}\n"


@pytest.mark.parametrize(
    ("kind", "line", "after"),
    [
        ("wake", "altsem_wake(s, l, W, UINT32_MAX);",
         ["{}", "altsem_wake(s, l, W, 1);"]),
        ("wake", "if (a) altsem_wake(s, l, W, 1);",
         ["if (!(a)) altsem_wake(s, l, W, 1);", "if (a) ;", "if (a) altsem_wake(s, l, W, 0);"]),
        ("wake", "ops->wake(s, l, W, n);", ["{}", "ops->wake(s, l, W, n - 1);"]),
        ("label", "put(w, label(group + 1));",
         ["put(w, label(group + 2));", "put(w, label(group + 0));"]),
        ("word", "a = s->word;", ["a = s->word2;"]),
        ("waiter", "a = b - ALTSEM_WAITER;", ["a = b - UINT64_C(0);"]),
        ("waiter", "altsem_announce(w);", ["altsem_load(w);"]),
        ("mask", "a = (b & ~(uint64_t)ALTSEM_WOKEN) - 1;", ["a = (b ) - 1;"]),
        ("comparison", "a = b <= a;", ["a = b < a;"]),
        ("comparison", "a = p->b >> 1;", []),
        ("logic", "a = a && b;", ["a = a || b;"]),
        ("not", "a = !b;", ["a = b;"]),
        ("number", "a = 0x10u;", ["a = 17u;", "a = 15u;"]),
        ("number", "if (__builtin_expect(b, 0)) a = b;", []),
        ("number", "a = 2000000;", ["a = 4000000;", "a = 1000000;"]),
        ("number", "a = INT64_C(65);", ["a = INT64_C(130);", "a = INT64_C(32);"]),
        ("number", "a = 64;", ["a = 65;", "a = 63;"]),
        ("number", "a = 32767u;", ["a = 32768u;", "a = 32766u;"]),
        ("number", "a = 0700;", ["a = 449;", "a = 447;"]),
        ("condition", "if (a) b = a;", ["if (!(a)) b = a;"]),
        ("error", "return -EAGAIN;", ["return 0;"]),
        ("arithmetic", "a = -b;", []),
        ("arithmetic", "a = a - b;", ["a = a + b;"]),
        ("statement", "a = b;", ["{}"]),
        ("statement", "int c = b;", []),
        ("statement", "else f(a);", ["else ;"]),
        ("order", "f(a);\nb = a;", ["b = a; f(a);"]),
        ("order", "if (a) f(a);\ng(b);", []),
        ("comparison", "/* a == b */ f(\"a == b\");", []),
    ],
)  # fmt: skip
def test_each_kind_of_fault_follows_the_text(kind: str, line: str, after: list[str]) -> None:
    assert sorted(planted(function(line), kind)) == sorted(after)


def test_conditions_of_the_preprocessor_are_left_alone() -> None:
    assert mutants("csrc/a.c", "#if A == 1\n#endif\n#include <a.h>\n") == []


@pytest.mark.parametrize(
    ("kind", "line", "after"),
    [
        ("comparison", "x = a is not b", ["x = a is b"]),
        ("comparison", "x = a not in b", ["x = a in b"]),
        ("logic", "x = a and True", ["x = a or True", "x = a and False"]),
        ("not", "x = not a", ["x = a"]),
        ("condition", "if a == 'x:':", ["if not (a == 'x:'):"]),
        ("result", "return f(a)", ["return None"]),
        ("statement", "f(a)", ["pass"]),
        ("logic", "x = 'a and b'  # and", []),
    ],
)
def test_and_so_it_does_in_python(kind: str, line: str, after: list[str]) -> None:
    found = planted(f"def f():\n    {line}\n", kind, "src/a.py")
    assert sorted(found) == sorted(text + "  # and" * ("# and" in text) for text in after)


def test_a_fault_keeps_its_name_when_lines_move_and_loses_it_with_its_own() -> None:
    code = function("a = a + 1;\nb = b + 1;\nb = b + 1;")

    def names(text: str) -> list[str]:
        return [m.id for m in mutants("csrc/a.c", text)]

    assert len(set(names(code))) == len(names(code))
    assert names("static int other(void) { f(); }\n\n" + code)[-len(names(code)) :] == names(code)
    assert set(names(code.replace("a = a + 1", "a = a + 3"))) < set(
        names(code + function("a = a + 3;"))
    )


def test_the_sample_has_all_wakes_and_some_of_the_rest() -> None:
    every = [
        Mutant(f"{number:08x}", "a.c", 1, "wake" if number == 1 else "number", "", "", 0, 0, "")
        for number in range(100)
    ]
    chosen = choose(every, [], everything=False)
    assert every[1] in chosen and 1 < len(chosen) < 20
    assert choose(every, ["wake"], everything=False) == [every[1]]
    assert choose(every, ["b.c"], everything=True) == []
    assert choose(every, [], everything=True) == every
