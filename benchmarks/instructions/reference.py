"""The counts of instructions that are agreed on: a rise has to be meant, and to be explained."""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from pathlib import Path
from typing import Any

from .. import ROOT

FILE = ROOT / "benchmarks" / "instructions.json"
COUNTS = ("inside", "locked")


def compiler() -> str:
    """Which one built the core, by the notes that compilers leave in what they make."""
    from altsem import _core

    text = Path(str(_core.__file__)).read_bytes()
    for name, pattern in (("clang", rb"clang version (\d+)"), ("gcc", rb"GCC: \([^)]*\) (\d+)\.")):
        found = re.findall(pattern, text)
        if found:
            return f"{name} {max(int(major) for major in found)}"
    return "unknown compiler"


def key() -> str:
    """What counts depend on: interpreter, architecture and compiler."""
    version = ".".join(platform.python_version_tuple()[:2])
    flags = getattr(sys, "abiflags", "")
    name = platform.python_implementation()
    return f"{name} {version}{flags} {os.uname().machine} {compiler()}"


def load(file: Path = FILE) -> dict[str, Any]:
    if not file.exists():
        return {}
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def compare(pairs: dict[str, Any], agreed: dict[str, Any]) -> tuple[list[str], list[str]]:
    """What is wrong, and what is only worth telling."""
    wrong, told = [], []
    for pair, found in pairs.items():
        ours, entry = found["altsem"], agreed.get(pair)
        if entry is None:
            told.append(f"{pair}: nothing to compare with")
            continue
        if not str(entry.get("why", "")).strip():
            wrong.append(f"{pair}: its field `why` is empty")
        for count in COUNTS:
            now, then = ours and ours[count], entry.get(count)
            if now is None or then is None:
                told.append(f"{pair}, {count}: not counted on both sides")
            elif now > then:
                wrong.append(f"{pair}, {count}: {now:g} instructions, {then:g} are agreed on")
            elif now < then:
                told.append(f"{pair}, {count}: {now:g} instead of {then:g}; --update keeps that")
    return wrong, told


def check(figures: dict[str, Any], file: Path = FILE) -> int:
    """0 if no count rose or there is nothing to compare with, else 1; says what it found."""
    agreed = load(file).get(figures["key"])
    if agreed is None:
        print(f"nothing was compared: {file.name} has no counts for {figures['key']}")
        return 0
    wrong, told = compare(figures["pairs"], agreed)
    for line in told:
        print(line)
    for line in wrong:
        print(line, file=sys.stderr)
    if wrong:
        print(
            "a change that raises a count has to say why: update the file with --update and give "
            "the reason in the `why` field",
            file=sys.stderr,
        )
        return 1
    print(f"no count rose: {figures['key']}")
    return 0


def update(figures: dict[str, Any], why: str = "", file: Path = FILE) -> None:
    """Writes the counts.  One that rose loses its old reason, which was for another count."""
    everything = load(file)
    agreed = everything.setdefault(figures["key"], {})
    for pair, found in figures["pairs"].items():
        ours = found["altsem"]
        if ours is None:
            continue
        old = agreed.get(pair, {})
        new = {count: ours[count] for count in COUNTS}
        rose = any((new[count] or 0) > (old.get(count) or 0) for count in COUNTS)
        changed = any(new[count] != old.get(count) for count in COUNTS)
        reason = why if changed and why else ("" if rose else old.get("why", ""))
        if not reason:
            print(f"{pair}: give the reason in the field `why` of {file.name}")
        agreed[pair] = {**new, "functions": ours["functions"], "why": reason}
    file.write_text(json.dumps(everything, indent=1) + "\n")
