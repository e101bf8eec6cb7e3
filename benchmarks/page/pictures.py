"""The pictures beside the pages.  Those of the newest interpreter tell what those of any would."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


class Pictures:
    """Those of the interpreter with this tag, if it is the newest: PICTURES="3.11 3.13t" in the
    environment asks for those of others as well."""

    def __init__(self, folder: Path, tag: str, *, newest: bool) -> None:
        self._folder, self._tag = folder, tag
        self._wanted = newest or tag in os.environ.get("PICTURES", "").split()

    def show(self, what: str, draw: Callable[[], str], name: str = "") -> list[str]:
        """Draws it into its file, and gives the Markdown that shows it.  If it is not wanted there
        is neither, nor a file that an earlier run has left."""
        file = self._folder / f"{'-'.join(filter(None, (self._tag, name)))}.svg"
        if not self._wanted:
            file.unlink(missing_ok=True)
            return []
        file.write_text(draw(), encoding="utf-8")
        return [f"![{what}]({file.name})"]
