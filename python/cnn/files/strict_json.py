"""JSON as files hold it: strictly read, so that no text can surprise, exhaust the memory or be read in two ways."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

MAX_DEPTH = 32
_NO_STRUCTURE = bytes(set(range(256)) - set(b'"[]{}'))


class Refused(ValueError):
    """The text is not JSON as it may be."""


def dumps(value: Any) -> str:
    """In ASCII, without spaces; floats keep every bit. NaN and infinity raise ValueError."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def loads(text: bytes, max_depth: int = MAX_DEPTH) -> Any:
    """The value of a text without duplicate names, NaN, infinity, long numbers or deep nesting.

    >>> loads(b'{"a":1,"a":2}')
    Traceback (most recent call last):
    cnn.files.strict_json.Refused: the name 'a' stands there twice
    """
    _check_depth(text, max_depth)
    try:
        return json.loads(
            text.decode("utf-8", "strict"), object_pairs_hook=_object, parse_constant=_constant, parse_int=_integer,
            parse_float=_float,
        )  # fmt: skip
    except Refused:
        raise
    except (ValueError, RecursionError) as error:  # of the decoder, of UTF-8
        raise Refused(f"not JSON: {error}") from None


def _check_depth(text: bytes, max_depth: int) -> None:
    """Takes little more memory than the text: two quotes side by side may go, for what is within a string stays so."""
    text = text.replace(rb"\\", b"").replace(rb"\"", b"").translate(None, _NO_STRUCTURE).replace(b'""', b"")
    depth, within = 0, False
    for byte in text:
        if byte == 0x22:
            within = not within
        elif not within:
            depth += 1 if byte in b"[{" else -1
            if depth > max_depth:
                raise Refused(f"nested deeper than {max_depth}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise Refused(f"the name {shown(name)} stands there twice")
        found[name] = value
    return found


def _constant(text: str) -> NoReturn:
    raise Refused(f"{text} is not a number of JSON")


def _integer(text: str) -> int:
    if len(text) > 20:
        raise Refused(f"the number {shown(text)} is too long")
    return int(text)


def _float(text: str) -> float:
    value = float(text) if len(text) <= 40 else math.inf
    if not math.isfinite(value):
        raise Refused(f"the number {shown(text)} is too large or too long")
    return value


def shown(value: Any) -> str:
    """A value of a file in an error: in ASCII, and short.

    >>> shown("é" * 100)
    "'\\\\xe9\\\\xe9\\\\xe9\\\\xe9\\\\xe9\\\\xe9\\\\xe9\\\\xe9\\\\xe9..."
    """
    text = ascii(value)
    return text if len(text) <= 60 else text[:37] + "..."
