"""Rows to measure with: messages of made-up customers, the same ones every time; and a system prompt of 12 KB.

python -m tests.benchmarks.sample_rows rows PATH COUNT [CHANGED_ROW]
python -m tests.benchmarks.sample_rows prompt PATH 12k|short
"""

from __future__ import annotations

import csv
import json
import random
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

COLUMNS = ("id", "product", "title", "body", "rating")
SHORT_PROMPT = "You sort the messages of customers."
_PROMPT_BYTES = 12_000
_WORDS = re.split(
    " ",
    'parcel invoice refund late broken screen cable café naïve "as new" colour size garden kettle warranty courier '
    "please again twice never, Tuesday; £20 straße 订单 missing receipt account password locked thanks",
)


def rows(count: int) -> Iterator[dict[str, str | int]]:
    """About 350 bytes each, quotes and accents among them."""
    dice = random.Random(11)
    for number in range(count):
        yield {
            "id": f"m-{number:08d}",
            "product": dice.choice(("kettle", "lamp", "desk")),
            "title": " ".join(dice.choices(_WORDS, k=6)),
            "body": " ".join(dice.choices(_WORDS, k=40)),
            "rating": number % 5 + 1,
        }


def write_rows(path: str, count: str, changed_row: str = "-1") -> None:
    """CSV or JSONL, by the ending. `changed_row` gets another title."""
    given = (
        row | {"title": "another title"} if number == int(changed_row) else row
        for number, row in enumerate(rows(int(count)))
    )
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        if path.endswith(".csv"):
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(given)
        else:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in given)


def system_prompt(kind: str) -> str:
    """`12k` or `short`."""
    if kind == "short":
        return SHORT_PROMPT
    dice = random.Random(12)
    lines: list[str] = []
    while sum(map(len, lines)) < _PROMPT_BYTES:
        lines.append(" ".join(dice.choices(_WORDS, k=14)))
    return "\n".join(lines).encode()[:_PROMPT_BYTES].decode(errors="ignore")


def write_prompt(path: str, kind: str) -> None:
    Path(path).write_text(system_prompt(kind), encoding="utf-8")


if __name__ == "__main__":
    COMMANDS: dict[str, Callable[..., None]] = {"rows": write_rows, "prompt": write_prompt}
    COMMANDS[sys.argv[1]](*sys.argv[2:])
