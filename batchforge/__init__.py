"""BatchForge: declarative, incremental, exactly-once runs of Claude's Message Batches API.

from batchforge import Project
Project("projects/tickets").run("classify_tickets")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batchforge.api import Project
    from batchforge.errors import BatchForgeError

__all__ = ["BatchForgeError", "Project"]

_HOMES = {"Project": "batchforge.api", "BatchForgeError": "batchforge.errors"}


def __getattr__(name: str) -> Any:
    """Each name is imported when it is used, so that `import batchforge` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'batchforge' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
