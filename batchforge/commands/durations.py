"""Spans of time as they are typed: 90s, 30m, 12h, 90d."""

from __future__ import annotations

import re

import click

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Duration(click.ParamType):  # type: ignore[type-arg]
    """Seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", str(value).strip())
        if match is None:
            self.fail(f"`{value}` is no span of time. Write e.g. 90s, 30m, 12h or 90d.", param, ctx)
        return float(match[1]) * _UNITS_S[match[2]]
