"""Text of others where it could do something: on a terminal, and in the cells of a spreadsheet."""

from __future__ import annotations

import re
import unicodedata

# A number in any notation: only digits, what groups them, a currency and a percent sign.
_NUMBER = re.compile(r"[+\-\u2212]?[$€£¥]?(\d[\d.,'\u2019\u00a0\u202f]*|\.\d+)([eE][+\-]?\d+)?\s?[%€]?")
_CONTROLS = ("Cc", "Cf", "Cs", "Zl", "Zp")
_JOINERS = "\u200c\u200d"  # parts of words and of pictures
_HARMLESS = re.compile(r"[\w ,;.:/()\[\]{}\"'!?#$%&*<>^`|~=+@\\-]*", re.ASCII)


def visible(text: str) -> str:
    r"""Text for a terminal: what would control it, or the order of the letters, as an escape.

    >>> print(visible("a\x1b[31m \u202e b\n"), visible("Zürich 日本"))
    a\x1b[31m \u202e b\n Zürich 日本
    """
    if _HARMLESS.fullmatch(text):
        return text
    return "".join(
        c.encode("unicode_escape").decode() if unicodedata.category(c) in _CONTROLS and c not in _JOINERS else c
        for c in text
    )


def safe(cell: str) -> str:
    r"""Text with an apostrophe before it where a spreadsheet would run it.

    Spreadsheets pass over blanks and what can't be seen before a formula, and some take full-width signs for it.

    >>> safe("=HYPERLINK(A1)"), safe("-5.2"), safe("- none"), safe("\ufeff=A1"), safe("＝A1")
    ("'=HYPERLINK(A1)", '-5.2', "'- none", "'\ufeff=A1", "'＝A1")
    """
    if not cell or cell[0].isalnum():
        return cell
    if cell[0] in "\t\r\n":
        return f"'{cell}"
    begin = next((i for i, c in enumerate(cell) if unicodedata.category(c)[0] not in "CZ"), len(cell))
    rest = cell[begin:].strip()
    begins = unicodedata.normalize("NFKC", rest[:1])[:1] in tuple("=+-@\u2212")
    return f"'{cell}" if begins and rest not in ("-", "+") and not _NUMBER.fullmatch(rest) else cell


def one_line(error: BaseException) -> str:
    """What an error says, for a terminal."""
    if isinstance(error, OSError) and error.strerror:  # a file that was opened has its name in the error
        return visible(f"{error.filename or 'standard input or output'}: {error.strerror}")
    return visible(" ".join((str(error) or type(error).__name__).split()))
