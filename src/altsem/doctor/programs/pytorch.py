"""Whether the drop-in can give PyTorch memory without names: {"value": why not, "" if it can}."""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

order = json.loads(sys.argv[1])
sys.path[:0] = order["path"]

try:
    storage: Any = importlib.import_module("torch").UntypedStorage
    tensors = importlib.import_module(f"{order['package']}.dropin.tensors")
    told: dict[str, Any] = {"value": tensors.misfit(storage)}
except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
    told = {"error": f"{type(error).__name__}: {error}", "errno": getattr(error, "errno", None)}
print(json.dumps(told))
