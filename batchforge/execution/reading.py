"""The results of one batch as they are read -> those that were asked for, those that were not, and what is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from batchforge.requests.fingerprint import custom_id, parse_custom_id
from batchforge.results import Brought, RequestResult

_Name = tuple[bytes, int]


class Reading:
    """What has been read of one batch's results: which requests are still without one, and what should not be there."""

    def __init__(self, claimed: Iterable[_Name]) -> None:
        # By custom_id alone: a batch can hold 100,000, and a tuple for each would take three times the memory.
        self._has_result = dict.fromkeys((custom_id(*name) for name in claimed), False)
        self.stored = 0
        self.usage = Brought()

    @property
    def has_begun(self) -> bool:
        return self.stored > 0

    @property
    def left(self) -> set[_Name]:
        """The requests that have no result yet."""
        names = (parse_custom_id(name) for name, has_result in self._has_result.items() if not has_result)
        return {name for name in names if name is not None}

    def knows_any(self, results: Sequence[RequestResult]) -> bool:
        return any(result.custom_id in self._has_result for result in results)

    def sort(self, results: Sequence[RequestResult]) -> tuple[list[RequestResult], list[str], list[str]]:
        """(asked, custom_ids that came a second time, custom_ids that nobody asked for)"""
        asked: list[RequestResult] = []
        repeated: list[str] = []
        unasked: list[str] = []
        states = self._has_result
        for result in results:
            name = result.custom_id
            has_result = states.get(name)
            if has_result is None:
                unasked.append(name)
            elif has_result:
                repeated.append(name)
            else:
                states[name] = True
                asked.append(result)
        self.stored += len(asked)
        return asked, repeated, unasked


def stored_facts(results: Sequence[RequestResult], total: Brought) -> dict[str, object]:
    """What an event says of results that were just stored. `total` is what they amount to."""
    return {
        "results": dict(Counter(result.kind.value for result in results)),
        "cost_usd": round(total.cost_usd, 9),
        "input_tokens": total.usage.prompt_tokens,
        "output_tokens": total.usage.output_tokens,
    }
