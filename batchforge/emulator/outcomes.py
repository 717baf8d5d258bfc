"""What became of each request, for the counters: kind, tokens, dollars."""

from __future__ import annotations

from dataclasses import dataclass

from batchforge.emulator.answering import Answered
from batchforge.emulator.store import Store


@dataclass(frozen=True, slots=True)
class Outcome:
    kind: str
    """`succeeded`, `errored`, `canceled`, `expired`; `message` for a synchronous answer."""
    custom_id: str | None = None
    model: str | None = None
    input_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    cache_read_tokens: int = 0
    output_tokens: int = 0
    is_billed: bool = False
    billed_usd: float = 0.0

    @classmethod
    def of_answer(cls, kind: str, answered: Answered, custom_id: str | None = None) -> Outcome:
        return cls(
            kind=kind,
            custom_id=custom_id,
            model=answered.model.id,
            input_tokens=answered.input.input_tokens,
            cache_write_5m_tokens=answered.input.cache_write_5m_tokens,
            cache_write_1h_tokens=answered.input.cache_write_1h_tokens,
            cache_read_tokens=answered.input.cache_read_tokens,
            output_tokens=answered.output_tokens,
            is_billed=True,
            billed_usd=answered.billed_usd,
        )


def save_outcomes(store: Store, batch_no: int | None, outcomes: list[Outcome]) -> None:
    store.execute_many(
        "INSERT INTO outcomes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                batch_no,
                outcome.custom_id,
                outcome.kind,
                outcome.model,
                outcome.input_tokens,
                outcome.cache_write_5m_tokens,
                outcome.cache_write_1h_tokens,
                outcome.cache_read_tokens,
                outcome.output_tokens,
                int(outcome.is_billed),
                outcome.billed_usd,
            )
            for outcome in outcomes
        ],
    )
