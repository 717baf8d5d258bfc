"""Texts that hold what PostgreSQL's own cannot, the character NUL: escaped on the way there, and back on the way here.

They sort as the texts themselves do: what stands for the two lowest characters is lower than all others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psycopg

_ESCAPE = "\x01"


def escaped(text: str) -> str:
    r"""
    >>> escaped("a\0b")
    'a\x01\x01b'
    """
    if "\0" not in text and _ESCAPE not in text:
        return text
    return text.replace(_ESCAPE, "\x01\x02").replace("\0", "\x01\x01")


def unescaped(text: str) -> str:
    if _ESCAPE not in text:
        return text
    return text.replace("\x01\x01", "\0").replace("\x01\x02", _ESCAPE)


def take_any_text(connection: psycopg.Connection[Any]) -> None:
    """Every text that goes through the connection is escaped there and comes back as it was."""
    from psycopg.types.string import StrDumper, StrDumperUnknown, TextLoader

    class Escaping(StrDumperUnknown):
        def dump(self, obj: str) -> Any:
            return super().dump(escaped(obj))

    class EscapingText(StrDumper):
        def dump(self, obj: str) -> Any:
            return super().dump(escaped(obj))

    class Unescaping(TextLoader):
        def load(self, data: Any) -> Any:
            found = super().load(data)
            return unescaped(found) if isinstance(found, str) else found

    connection.adapters.register_dumper(str, EscapingText)
    connection.adapters.register_dumper(str, Escaping)
    connection.adapters.register_loader("text", Unescaping)
