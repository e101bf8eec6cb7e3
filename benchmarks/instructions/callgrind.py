"""Reads what `valgrind --tool=callgrind` wrote, as far as counting instructions needs it.

The profile has to be written with --compress-strings=no --compress-pos=no --dump-instr=yes
--dump-line=no: then every line says in full what it is about, and a cost is an address in its
object, as the object's disassembly knows it, and the number of times the instruction was executed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

Function = tuple[str, str]  # the object's path, the function's name


@dataclass
class Profile:
    """What one part of a run executed."""

    total: int = 0
    # How often each instruction was executed, by function and address.
    own: Counter[tuple[Function, int]] = field(default_factory=Counter)
    # Instructions executed in calls, the callees' callees included: by caller and callee.
    calls: Counter[tuple[Function, Function]] = field(default_factory=Counter)


def parse(lines: Iterable[str]) -> Profile:
    """The profile of one file.  Raises ValueError for one that was written in another way."""
    profile = Profile()
    this_object = this_function = callee_object = callee = ""
    call = False  # the next line is the cost of a call
    for line in lines:
        key, _, value = line.rstrip("\n").partition("=")
        if line[0:2] == "0x":
            address, cost = line.split()
            here = (this_object, this_function)
            if call:
                profile.calls[here, (callee_object or this_object, callee)] += int(cost)
                call, callee_object = False, ""
            else:
                profile.own[here, int(address, 16)] += int(cost)
        elif key == "ob":
            this_object = value
        elif key == "fn":
            this_function = value
        elif key == "cob":
            callee_object = value
        elif key == "cfn":
            callee = value
        elif key == "calls":
            call = True
        elif line.startswith("summary:"):
            profile.total = int(line.split()[1])
        elif line.startswith("positions:") and line.split()[1:] != ["instr"]:
            raise ValueError("the positions of the profile are not instructions alone")
    return profile
