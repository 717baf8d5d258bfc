"""The address of an object store -> the store, through obstore; and its errors in a few words, without secrets.

Credentials are those of the environment, under the names that each cloud uses.
"""

from __future__ import annotations

import os
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from obstore.store import ObjectStore


def object_store(url: str, patience_s: float) -> ObjectStore:
    """A server that does not answer is asked again for `patience_s` seconds; an answer may take twice as long.

    Raises:
        obstore.exceptions.BaseError, ValueError: the address, or what the environment says, is not usable.
    """
    from obstore.store import from_url

    client: dict[str, Any] = {"connect_timeout": "10s", "timeout": f"{round(2000 * patience_s)}ms"}
    client |= {"allow_http": True} if _has_plain_endpoint() else {}
    retry = {"max_retries": 6, "retry_timeout": timedelta(seconds=patience_s)}
    scheme = url.partition("://")[0]
    return from_url(url, client_options=client, retry_config=retry, **_endpoint(scheme))  # type: ignore[call-overload,no-any-return]


def _endpoint(scheme: str) -> dict[str, str]:
    """The more exact of the two names is not known to the library."""
    own = os.environ.get("AWS_ENDPOINT_URL_S3") if scheme == "s3" else None
    return {"endpoint": own} if own else {}


def _has_plain_endpoint() -> bool:
    """Only the owner of the environment can name an endpoint, so one without TLS is meant."""
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AZURE_ENDPOINT", "AZURE_STORAGE_ENDPOINT")
    return any(os.environ.get(name, "").startswith("http://") for name in names)


def cause_of(exc: Exception) -> str:
    text = str(exc)
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror
    if "169.254." in text or "metadata.google" in text:
        return "the environment holds no credentials for it"
    codes = re.findall(r"<Code>(\w+)</Code>|status code: (\d{3} [A-Za-z ]+)", text)
    found = [code or status.strip() for code, status in codes]
    if found:
        return ", ".join(dict.fromkeys(reversed(found)))
    if "os error" in text:
        return re.sub(r".*: ([^:]+ \(os error \d+\)).*", r"\1", text.replace("\n", " "))[:200]
    if missing := re.search(r"\w+ must be specified", text):
        return missing[0].lower()
    if re.search("connect|dns|timed? ?out", text, re.IGNORECASE):
        return "it cannot be reached"
    return type(exc).__name__
