"""The explorer, built once."""

from __future__ import annotations

from pathlib import Path

import pytest

from verify import build


@pytest.fixture(scope="session")
def explorer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    why = build.why_not()
    if why is not None:
        pytest.skip(f"nothing can be explored: {why}")
    return build.build(tmp_path_factory.mktemp("sound"))
