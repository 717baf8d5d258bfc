"""The results of one batch as they are read -> those that were asked for, those that were not, and what is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from batchforge.requests.fingerprint import custom_id
from batchforge.results import Brought, RequestResult, brought_by


class Reading:
    """What has been read of one batch's results: which requests are still without one, and what should not be there."""

    def __init__(self, claimed: set[tuple[bytes, int]]) -> None:
        self.left = claimed
        self._names = {custom_id(*name): name for name in claimed}
        self.stored = 0
        self.usage = Brought()

    @property
    def has_begun(self) -> bool:
        return self.stored > 0

    def knows_any(self, results: Sequence[RequestResult]) -> bool:
        return any(result.custom_id in self._names for result in results)

    def sort(self, results: Sequence[RequestResult]) -> tuple[list[RequestResult], list[str], list[str]]:
        """(asked, custom_ids that came a second time, custom_ids that nobody asked for)"""
        asked: list[RequestResult] = []
        repeated: list[str] = []
        unasked: list[str] = []
        for result in results:
            name = self._names.get(result.custom_id)
            if name is None:
                unasked.append(result.custom_id)
            elif name not in self.left:
                repeated.append(result.custom_id)
            else:
                self.left.discard(name)
                asked.append(result)
        self.stored += len(asked)
        return asked, repeated, unasked


def stored_facts(results: Sequence[RequestResult]) -> dict[str, object]:
    """What an event says of results that were just stored."""
    total = brought_by(results)
    return {
        "results": dict(Counter(result.kind.value for result in results)),
        "cost_usd": round(total.cost_usd, 9),
        "input_tokens": total.usage.prompt_tokens,
        "output_tokens": total.usage.output_tokens,
    }
