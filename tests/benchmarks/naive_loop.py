"""What one writes without a tool: a list of requests, the official SDK, a dict of answers.

    python -m tests.benchmarks.naive_loop ROWS.csv SYSTEM.txt PORT OUT.jsonl

Batches are cut by hand at 20,000 requests, or the API would refuse them.
"""

from __future__ import annotations

import csv
import json
import sys
import time
from pathlib import Path
from typing import Any

import anthropic
from jinja2 import Template

PROMPT = Path(__file__).with_name("prompt.md.j2").read_text()
BATCH_SIZE = 20_000


def main(rows_path: str, system_path: str, port: str, out_path: str) -> None:
    client = anthropic.Anthropic(api_key="none", base_url=f"http://127.0.0.1:{port}")
    system = Path(system_path).read_text()
    template = Template(PROMPT)
    with Path(rows_path).open(newline="", encoding="utf-8") as file:
        requests: list[Any] = [request(row, system, template) for row in csv.DictReader(file)]
    batches = [
        client.messages.batches.create(requests=requests[first : first + BATCH_SIZE])
        for first in range(0, len(requests), BATCH_SIZE)
    ]
    answers: dict[str, str] = {}
    for batch in batches:
        while client.messages.batches.retrieve(batch.id).processing_status != "ended":
            time.sleep(1)
        for result in client.messages.batches.results(batch.id):
            if result.result.type == "succeeded":
                block = result.result.message.content[0]
                answers[result.custom_id] = block.text if block.type == "text" else ""
    with Path(out_path).open("w", encoding="utf-8") as out:
        for key, answer in answers.items():
            out.write(json.dumps({"id": key, "answer": answer}) + "\n")


def request(row: dict[str, Any], system: str, template: Template) -> dict[str, Any]:
    row["rating"] = int(row["rating"])
    return {
        "custom_id": row["id"],
        "params": {
            "model": "claude-haiku-5-5",
            "max_tokens": 400,
            "system": [{"type": "text", "text": system, "cache_control": {"type": "ephemeral"}}],
            "messages": [{"role": "user", "content": template.render(row=row)}],
        },
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
