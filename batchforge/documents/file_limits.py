"""Files of one request -> what the API would refuse about them, and how many tokens they are, by its published numbers.

A PDF's page is read twice, as text and as an image. How much text stands on a page is not known before, so what a PDF
has at most is bounded by the model's context window only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from batchforge.claude_models import ModelInfo, TokenizerFamily
from batchforge.documents.file_facts import FileFacts, FileProblem
from batchforge.token_estimate import estimate_text_tokens

PATCH_PIXELS = 28
PDF_PAGE_TOKENS: dict[TokenizerFamily, int] = {"v1": 2_100, "v2": 2_350}
"""A page of text with its image, as it was measured in public; 1,500 to 3,000 are published."""
LONG_CONTEXT_TOKENS = 1_000_000
MEDIA_AT_MOST = {True: 600, False: 100}
"""Pages and images in one request, by whether the model's context is long."""
MANY_IMAGES = 20
IMAGE_PIXELS, MANY_IMAGES_PIXELS = 8_000, 2_000
IMAGE_BASE64_BYTES = 10 * 1024 * 1024
INLINE_ONLY_BYTES = 24 * 1024 * 1024
"""As base64: the API takes 32 MB, and the rest of the request stands there too."""
UNKNOWN_WINDOW_TOKENS = 1_000_000


def check_file(facts: FileFacts) -> None:
    """
    Raises:
        FileProblem: it is too large by itself.
    """
    if facts.kind != "image":
        return
    if max(facts.width, facts.height) > IMAGE_PIXELS:
        size = f"{facts.width:,} × {facts.height:,} pixels"
        raise FileProblem("BF456", f"'{facts.path}' has {size}; the API takes {IMAGE_PIXELS:,} a side")
    if 4 * ((facts.size_bytes + 2) // 3) > IMAGE_BASE64_BYTES:
        reason = (
            f"'{facts.path}' has {facts.size_bytes / 1e6:,.1f} MB; the API takes images of 7.8 MB (10 MB as base64)"
        )
        raise FileProblem("BF456", reason)


def check_inline(files: Sequence[FileFacts]) -> None:
    """
    Raises:
        FileProblem: they are too large together to stand in their request.
    """
    size_bytes = sum(4 * ((facts.size_bytes + 2) // 3) for facts in files)
    if size_bytes > INLINE_ONLY_BYTES:
        reason = (
            f"the request's files have {size_bytes * 3 / 4e6:,.0f} MB; without uploads, which the target forbids, a "
            f"request holds {INLINE_ONLY_BYTES * 3 / 4e6:,.0f} MB"
        )
        raise FileProblem("BF456", reason)


def check_files(files: Sequence[FileFacts], model: ModelInfo | None) -> None:
    """
    Raises:
        FileProblem: they are too many or too large together.
    """
    images = [facts for facts in files if facts.kind == "image"]
    pages = sum(facts.pages for facts in files)
    most = MEDIA_AT_MOST[context_window(model) >= LONG_CONTEXT_TOKENS]
    if pages + len(images) > most:
        counted = " and ".join(
            f"{count:,} {what}" for count, what in ((pages, "PDF pages"), (len(images), "images")) if count
        )
        raise FileProblem("BF456", f"the request has {counted}; this model takes {most} of them together")
    if len(images) > MANY_IMAGES:
        for facts in images:
            if max(facts.width, facts.height) > MANY_IMAGES_PIXELS:
                size = f"{facts.width:,} × {facts.height:,} pixels"
                limit = f"{MANY_IMAGES_PIXELS:,} a side where a request has more than {MANY_IMAGES} images"
                raise FileProblem("BF456", f"'{facts.path}' has {size}; the API takes {limit}")


def context_window(model: ModelInfo | None) -> int:
    return model.context_window_tokens if model else UNKNOWN_WINDOW_TOKENS


def estimated_tokens(facts: FileFacts, model: ModelInfo | None) -> float:
    family: TokenizerFamily = model.tokenizer if model else "v2"
    if facts.kind == "pdf":
        return facts.pages * PDF_PAGE_TOKENS[family]
    if facts.kind == "image":
        return image_tokens(facts.width, facts.height, family)
    return estimate_text_tokens(facts.text_sample, family) * facts.size_bytes / len(facts.text_sample)


def most_tokens(facts: FileFacts, model: ModelInfo | None) -> int:
    """An upper bound: a text has at most a token a byte, and no request more than the context window."""
    window = context_window(model)
    if facts.kind == "image":
        return image_tokens(facts.width, facts.height, model.tokenizer if model else "v2")
    return window if facts.kind == "pdf" else min(facts.size_bytes, window)


def image_tokens(width: int, height: int, family: TokenizerFamily) -> int:
    """One for each patch of 28 × 28 pixels, once the image is scaled down to what the model takes."""
    long_edge, most = (2_576, 4_784) if family == "v2" else (1_568, 1_568)
    scale = min(1.0, long_edge / max(width, height))
    while (tokens := _patches(width * scale, height * scale)) > most:
        scale *= math.sqrt(most / tokens) * 0.999
    return tokens


def _patches(width: float, height: float) -> int:
    return max(1, math.ceil(width / PATCH_PIXELS)) * max(1, math.ceil(height / PATCH_PIXELS))
