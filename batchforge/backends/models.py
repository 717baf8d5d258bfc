"""The models endpoint: what the API lists, of all lifecycles. Asking costs nothing."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from batchforge.backends.base import BatchGone, Connection, Unavailable
from batchforge.backends.client import make_client, reading
from batchforge.errors import ApiError
from batchforge.model_check import ALL_LIFECYCLES, LiveModel

_PAGE_SIZE = 100


def list_models(connection: Connection) -> list[LiveModel]:
    """
    Raises:
        ApiError: BF601 the credentials are refused, BF620 there is no list to be had.
    """
    try:
        with reading("list of models"), make_client(connection) as client:
            page: dict[str, Any] = {"limit": _PAGE_SIZE, "lifecycle": list(ALL_LIFECYCLES)}
            return [_live_model(info) for info in client.models.list(**page)]
    except (BatchGone, Unavailable) as exc:
        hint = "Try again later. Without --check nobody is asked."
        raise ApiError("BF620", f"the list of models cannot be had: {exc}", hint=hint) from exc


def _live_model(info: Any) -> LiveModel:
    """Models are built without validation, and servers that only resemble the API leave fields out."""
    capabilities = getattr(info, "capabilities", None)
    return LiveModel(
        id=info.id,
        display_name=getattr(info, "display_name", None) or info.id,
        lifecycle=getattr(info, "lifecycle", None) or "active",
        retires_on=_day(getattr(info, "retires_at", None)),
        context_window_tokens=getattr(info, "max_input_tokens", None),
        max_output_tokens=getattr(info, "max_tokens", None),
        takes_batches=_is_supported(getattr(capabilities, "batch", None)),
        effort_levels=_supported_names(getattr(capabilities, "effort", None)),
        thinking_types=_supported_names(getattr(getattr(capabilities, "thinking", None), "types", None)),
    )


def _day(time: datetime | str | None) -> date | None:
    if time is None:
        return None
    moment = datetime.fromisoformat(time) if isinstance(time, str) else time
    return moment.astimezone(UTC).date() if moment.tzinfo else moment.date()


def _is_supported(capability: Any) -> bool | None:
    supported = getattr(capability, "supported", None)
    return supported if isinstance(supported, bool) else None


def _supported_names(group: Any) -> frozenset[str] | None:
    """The parts of a capability that are supported, also those that the SDK does not know yet."""
    if group is None:
        return None
    parts = group.to_dict()
    return frozenset(name for name, part in parts.items() if isinstance(part, dict) and part.get("supported") is True)
