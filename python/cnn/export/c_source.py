"""The text of C99 that all exported models are made of: constants, texts, functions, templates filled in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

_LONGEST = 4095  # characters of a text that every compiler of C99 takes
MACROS = """typedef {real} real;
#define R(x) x{paste}
#define F(name) name{paste}

/* Where the machine has no fused multiply-add, this is quicker, and agrees a little less with what was trained:
   -D"CNN_FMA(a,b,c)=((a)*(b)+(c))" */
#ifndef CNN_FMA
#define CNN_FMA(a, b, c) F(fma)(a, b, c)
#endif

/* -DCNN_BUFFERS=static takes what is between layers off the stack; then one thread at a time may call. */
#ifndef CNN_BUFFERS
#define CNN_BUFFERS
#endif
"""
CLASS_OF = """
int {n}_class(const {real} *y)
{
    int i, largest = 0;

    for (i = 1; i < {N}_OUTPUTS; i++)
        largest = y[i] > y[largest] ? i : largest;
    return largest;
}
"""


def fill(text: str, names: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: names[match[1]], text)


def function(kind: str, body: str) -> str:
    """The static function of an activation, from the body that it has in `functions`."""
    unused = "" if "alpha" in body else "    (void)alpha;\n"
    declarations, returned = body.rsplit("return", 1)
    return f"static real f_{kind}(real z, real alpha)\n{{\n    {declarations}{unused.strip()}".rstrip() + (
        f"\n    return{returned}\n}}\n"
    )


def table(name: str, array: Any, kind: str = "real") -> str:
    """A constant array, a row of the matrix a line."""
    size = "".join(f"[{n}]" for n in array.shape)
    rows = [", ".join(map(number, row)) for row in np.atleast_2d(array)]
    inner = ",\n".join(f"    {{{row}}}" if array.ndim == 2 else f"    {row}" for row in rows)
    return f"static const {kind} {name}{size} = {{\n{inner}\n}};"


def number(value: Any) -> str:
    return float(value).hex() + ("f" if value.dtype == np.float32 else "")


def texts(name: str, values: Sequence[str], where: str = "", kind: str = "") -> str:
    """A constant array of texts; ValueError, `where` at its beginning, for one that C can't hold."""
    inner = ",\n".join(f"    {_literal(text, where)}" for text in values)
    return f"{kind}const char *const {name}[{len(values)}] = {{\n{inner}\n}};\n\n"


def _literal(text: str, where: str) -> str:
    """A text of C: what is not a plain letter, digit or sign becomes three octal digits, so nothing can end it."""
    content = text.encode()
    if 0 in content:
        raise ValueError(f"{where}{text[:40]!r} has a zero byte, where a text of C ends")
    if len(content) > _LONGEST:
        raise ValueError(f"{where}{text[:40]!r}... has {len(content):,} bytes; C99 takes texts of {_LONGEST:,}")
    plain = (chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else f"\\{b:03o}" for b in content)
    return f'"{"".join(plain)}"'
