"""The figures that are no pairs, by their names in the JSON files: how the page shows each."""

from __future__ import annotations

from . import growth, million
from .instructions import page as instructions
from .page.report import Section

SECTIONS: dict[str, Section] = {
    "million": lambda found, _: million.section(found),
    "growth": growth.section,
    "instructions": lambda found, _: instructions.section(found),
}
