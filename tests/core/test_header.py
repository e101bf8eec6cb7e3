"""The bridge that the tests of the core go over: nothing the header promises is missing from it."""

import re
from pathlib import Path
from types import ModuleType

HEADER = Path(__file__).resolve().parents[2] / "csrc" / "altsem.h"


def test_every_function_and_constant_of_the_header_is_there(core: ModuleType) -> None:
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.DOTALL)
    functions = set(re.findall(r"\b(altsem_\w+)\(", text))
    constants = set(re.findall(r"\b(ALTSEM_\w+) =", text))
    constants |= set(re.findall(r"^#define (ALTSEM_\w+) ", text, flags=re.MULTILINE))
    assert len(functions) > 40 and len(constants) > 10
    assert functions | constants <= set(dir(core.lib))


def test_constants_have_the_values_of_the_c_compiler(core: ModuleType) -> None:
    assert core.lib.ALTSEM_FOREVER == 2**63 - 1
    assert core.lib.ALTSEM_NOW == -(2**63)
    assert core.lib.ALTSEM_SLOT_BYTES == 64
