"""torch, imported when something of it is first used: reading media and running exported models do without it."""

from __future__ import annotations

import importlib
from typing import Any


class Later:
    """Stands for a module until it is needed. Raises ModuleNotFoundError then if it is not installed, with how to get it."""

    def __init__(self, name: str, hint: str) -> None:
        self._name, self._hint = name, hint

    def __getattr__(self, attribute: str) -> Any:
        try:
            module = importlib.import_module(self._name)
        except ImportError as error:
            raise ModuleNotFoundError(f"{error}; {self._hint}", name=self._name) from error
        value = getattr(module, attribute)
        setattr(self, attribute, value)  # the next time nobody has to ask
        return value


torch: Any = Later("torch", "exported models run without PyTorch, but this needs it: pip install 'karmma[train]'")
