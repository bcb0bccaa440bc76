"""Media types: which form of response a request accepts, and what form its body has."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from whatssound.local.rest.errors import bad_media_type, not_supported

JSON: Final = "application/json"
OBJECT: Final = "application/vnd.pgrst.object+json"
ARRAY_STRIPPED: Final = "application/vnd.pgrst.array+json;nulls=stripped"
FORM: Final = "application/x-www-form-urlencoded"

_REFUSED: Final = frozenset({"text/csv", "application/geo+json"})
_TYPE: Final = re.compile(r"\s*([A-Za-z0-9.*]+)/([A-Za-z0-9.*+-]+)(.*)", re.DOTALL)
_PARAMETER: Final = re.compile(r"\s*;\s*([A-Za-z0-9-]+)\s*=\s*(?:\"([^\"]*)\"|([A-Za-z0-9|.+*/-]+))")


@dataclass(frozen=True, slots=True)
class Rendering:
    """How a response body is written.

    Args:
        media_type: Its media type, without the character set.
        single: Whether it is one object rather than an array.
        strip_nulls: Whether members that are null are left out.
    """

    media_type: str
    single: bool = False
    strip_nulls: bool = False

    @property
    def content_type(self) -> str:
        """The `Content-Type` header."""
        return f"{self.media_type}; charset=utf-8"


_ARRAY: Final = Rendering(JSON)
_RENDERINGS: Final = {
    JSON: _ARRAY,
    "*/*": _ARRAY,
    ARRAY_STRIPPED: Rendering(ARRAY_STRIPPED, strip_nulls=True),
    OBJECT: Rendering(OBJECT, single=True),
    f"{OBJECT};nulls=stripped": Rendering(f"{OBJECT};nulls=stripped", single=True, strip_nulls=True),
}


def media_type(text: str) -> str:
    """The name by which PostgREST knows a media type; parameters that mean nothing are dropped.

    Args:
        text: One media type as in `Accept` or `Content-Type`.
    """
    match = _TYPE.fullmatch(text)
    if match is None:
        return text
    name = f"{match[1]}/{match[2]}".lower()
    parameters = {found[0].lower(): found[1] or found[2] for found in _PARAMETER.findall(match[3])}
    stripped = parameters.get("nulls") == "stripped"
    if name in {OBJECT, "application/vnd.pgrst.object"}:
        return f"{OBJECT};nulls=stripped" if stripped else OBJECT
    if name in {"application/vnd.pgrst.array+json", "application/vnd.pgrst.array"}:
        return ARRAY_STRIPPED if stripped else JSON
    known = name in _RENDERINGS or name in _REFUSED or name in {FORM, "text/plain", "text/xml"}
    return name if known or name == "application/octet-stream" else text


def negotiate(accept: str | None) -> Rendering:
    """Picks the rendering of a response.

    Args:
        accept: The `Accept` header.

    Raises:
        ApiError: PGRST107 if nothing accepted can be written; PGRST127 if PostgREST could and the local stack cannot.
    """
    if accept is None:
        return _ARRAY
    wanted = _in_order(accept)
    for name in wanted:
        rendering = _RENDERINGS.get(name)
        if rendering is not None:
            return rendering
        if name in _REFUSED:
            raise not_supported(f"The media type {name}")
    raise bad_media_type(wanted)


def _in_order(accept: str) -> list[str]:
    """The accepted media types, best quality first, in the order given among equals."""
    weighted: list[tuple[float, str]] = []
    for piece in accept.split(","):
        text = piece.strip()
        quality = re.search(r";\s*q=([0-9.]+)\s*$", text)
        weight = float(quality[1]) if quality else 1.0
        weighted.append((-weight, media_type(text[: quality.start()] if quality else text)))
    return [name for _, name in sorted(weighted, key=lambda pair: pair[0])]
