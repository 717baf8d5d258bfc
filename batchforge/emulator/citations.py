"""An answer to a request whose documents want citations: its last text cites the beginning of the first of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_CITED_CHARACTERS = 80


def with_citations(content: Sequence[Mapping[str, Any]], params: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Content that cites already, or whose request asked for no citations, stays as it is."""
    blocks = [dict(block) for block in content]
    texts = [block for block in blocks if block["type"] == "text"]
    cited = _first_cited(params)
    if texts and cited is not None and not any(block.get("citations") for block in texts):
        texts[-1]["citations"] = [_citation(*cited)]
    return blocks


def _first_cited(params: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]] | None:
    """(number among the documents, document)"""
    contents = (message["content"] for message in params["messages"] if isinstance(message["content"], list))
    documents = [block for content in contents for block in content if block["type"] == "document"]
    for number, block in enumerate(documents):
        if (block.get("citations") or {}).get("enabled"):
            return number, block
    return None


def _citation(number: int, document: Mapping[str, Any]) -> dict[str, Any]:
    source = document["source"]
    common = {"document_index": number, "document_title": document.get("title"), "file_id": source.get("file_id")}
    if source["type"] == "text":
        cited = source["data"][:_CITED_CHARACTERS]
        place = {"start_char_index": 0, "end_char_index": len(cited)}
        return {"type": "char_location", "cited_text": cited, **common, **place}
    page = {"start_page_number": 1, "end_page_number": 2}
    return {"type": "page_location", "cited_text": "What stands on the first page.", **common, **page}
