"""`batchforge explain [CODE]`: what an error or warning means, what causes it, and how to cure it."""

from __future__ import annotations

import dataclasses
import json

import click

from batchforge.commands.options import output_option
from batchforge.errors import UsageError


@click.command(name="explain")
@click.argument("code", required=False)
@output_option
def command(code: str | None, output: str) -> None:
    """Say what an error code means and what to do. Without CODE, list all of them."""
    click.echo(_all(output) if code is None else _one(code, output))


def _all(output: str) -> str:
    from batchforge.error_codes import ERROR_CODES

    if output == "json":
        return json.dumps({code: dataclasses.asdict(entry) for code, entry in ERROR_CODES.items()}, indent=2)
    return "\n".join(f"{code}  {entry.title}" for code, entry in ERROR_CODES.items())


def _one(code: str, output: str) -> str:
    from batchforge.error_codes import ERROR_CODES

    wanted = _full_code(code)
    if wanted not in ERROR_CODES:
        hint = "`batchforge explain` lists all codes."
        raise UsageError("BF905", f"There is no error code `{code}`.", hint=hint)
    entry = ERROR_CODES[wanted]
    if output == "json":
        return json.dumps({"code": wanted, **dataclasses.asdict(entry)}, indent=2)
    parts = [f"{wanted}: {entry.title}", f"Cause: {entry.cause}", f"Cure: {entry.cure}"]
    if entry.example:
        parts.append(f"Example:\n  {entry.example}")
    return "\n\n".join(parts)


def _full_code(code: str) -> str:
    return f"BF{code}" if code.isdigit() else code.upper()
