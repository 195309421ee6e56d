"""How cells of text are read: words for what is missing, ways to write numbers and dates."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

# pandas' words, those of spreadsheets and those that people write; lower case, without blanks around them.
_WORDS = (
    "nan -nan na n/a n.a. n.a <na> #n/a #na null none nil nat missing unknown undefined ? - -- --- . .. #div/0! "
    "#value! #ref! #name? #num! #null! 1.#ind -1.#ind 1.#qnan -1.#qnan 1.#snan"
)
MISSING = frozenset({*re.split(" ", _WORDS), "", "#n/a n/a", "not available"})

DECIMALS = (".", ",")
UNITS = ("%", "$", "€", "£", "¥")
# Of numbers: "" as computers write them, else the decimal mark, then the unit if cells have one.
NUMBERS = ("", *(mark + unit for mark in DECIMALS for unit in ("", *UNITS)))
# Of dates, the order of day, month and year; the first is ISO 8601.
DATES = ("y-m-d", "y/m/d", "y.m.d", "d.m.y", "d/m/y", "m/d/y", "d-m-y", "m-d-y")
_TIME = (
    r"(?:[T ]+(?P<H>[0-9][0-9]?):(?P<M>[0-9][0-9])(?::(?P<S>[0-9][0-9])(?:\.(?P<F>[0-9]{1,9})[0-9]*)?)?"
    r"\s?(?P<Z>Z|UTC|[+-][0-9][0-9]:?[0-9][0-9](?::[0-9][0-9])?)?)?"
)
_BLANKS = " \u00a0\u202f\u2009"  # between groups of three digits; with a point or comma and two apostrophes
_GROUPED = 10  # so many different cells decide that a comma or point before three digits groups them


def is_missing(cells: Iterable[Any]) -> Array:
    """Whether each text is one of the words for what is missing, in any case and with blanks around it."""
    return np.fromiter((str(cell).strip().lower() in MISSING for cell in cells), bool)


@cache
def _number(writing: str) -> re.Pattern[str]:
    mark, unit = re.escape(writing[0]), re.escape(writing[1:])
    separators = [*_BLANKS, "'", "’", re.escape("," if writing[0] == "." else ".")]
    groups = "|".join(rf"[1-9][0-9]{{0,2}}(?:{separator}[0-9]{{3}})+" for separator in separators)
    body = rf"(?P<number>(?:{groups}|[0-9]+)(?:{mark}[0-9]*)?(?:[eE][+-]?[0-9]+)?|{mark}[0-9]+(?:[eE][+-]?[0-9]+)?)"
    if not unit:
        return re.compile(rf"(?P<sign>[+-]?){body}")
    before, after = rf"(?:{unit}\s?)?", rf"(?:\s?{unit})?"
    return re.compile(rf"{before}(?P<sign>[+-]?)\s?{before}{body}{after}")


def example(writing: str) -> str:
    """A number in that writing; "" for the one of computers.

    Cells may have a currency on either side. It is shown where it stands in the countries of that decimal mark.

    >>> example(".$"), example(",€"), example(".%")
    ('$1,234.5', '1.234,5 €', '1,234.5%')
    """
    if not writing:
        return ""
    mark, unit = writing[0], writing[1:]
    if unit in ("", "%"):
        return ("1,234.5" if mark == "." else "1.234,5") + unit
    return f"{unit}1,234.5" if mark == "." else f"1.234,5 {unit}"


def numbers(cells: Sequence[str], writing: str) -> Array:
    """Texts without blanks around them as numbers in that writing; NaN for what is none."""
    pattern, mark, unit = _number(writing), writing[0], writing[1:]
    found = np.full(len(cells), np.nan)
    for i, cell in enumerate(cells):
        # A share is always one: 12 beside 12% would be another number. Sums may come without their currency.
        units = cell.count(unit) if unit else 0
        if units > 1 or (unit == "%" and units == 0) or not (match := pattern.fullmatch(cell)):
            continue
        digits = "".join(c for c in match["number"] if c.isascii() and (c.isdigit() or c in "eE+-" or c == mark))
        found[i] = float(match["sign"] + digits.replace(mark, "."))
    return found


def decimal(cells: Sequence[str], unit: str) -> str | None:
    """The decimal mark where either fits all cells, which are numbers without or with one mark before three digits.

    A comma groups digits if ten different cells have one and another has none: "1,234" and "999". All with a comma say
    nothing (None). A point is a decimal mark, as in numbers that computers write; in sums of money it is as a comma.
    """
    mark = next((mark for mark in DECIMALS if any(mark in cell for cell in cells)), ".")
    with_mark = sum(mark in cell for cell in cells)
    if with_mark >= _GROUPED and with_mark < len(cells) and not (mark == "." and unit in ("", "%")):
        return DECIMALS[1 - DECIMALS.index(mark)]
    return "." if mark == "." else None


@cache
def _date(order: str) -> re.Pattern[str]:
    digits = r"[0-9][0-9]" if order == "y-m-d" else r"[0-9][0-9]?"
    parts = (f"(?P<{part}>" + (r"[0-9]{4}" if part == "y" else digits) + ")" for part in order[::2])
    return re.compile(re.escape(order[1]).join(parts) + _TIME)


def dates(cells: Sequence[str], order: str) -> tuple[Array, Array]:
    """(days since 1970 in UTC of texts without blanks around them, NaN for what is no day; which have another form)."""
    pattern = _date(order)
    matches = [pattern.fullmatch(cell) for cell in cells]
    other = np.array([match is None for match in matches], bool)
    days = np.full(len(cells), np.nan)
    if not other.all():
        found = np.array([match.groups("0") for match in matches if match]).T
        days[~other] = _days({part: found[place - 1] for part, place in pattern.groupindex.items()})
    return days, other


def _days(parts: dict[str, Array]) -> Array:
    """Of any year from 1 to 9999; NaN where there is no such day or time."""
    year, month, day, hour, minute, second = (parts[name].astype(np.int64) for name in "ymdHMS")
    fraction = np.char.add("0.", parts["F"]).astype(np.float64)
    zones, which = np.unique(parts["Z"], return_inverse=True)
    zone = np.array([_minutes(text) for text in zones.tolist()], np.int64)[which]
    valid = (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1) & (hour < 24) & (minute < 60) & (second < 60)
    months = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    begin, end = (m.astype("datetime64[D]").astype(np.int64) for m in (months, months + 1))
    whole = begin + day - 1
    seconds = (hour * 60 + minute - zone) * 60 + second
    # Whole days first: the same day and time gives the same bits from every unit and writing.
    whole, seconds = whole + seconds // 86_400, seconds % 86_400
    return np.where(valid & (begin + day <= end), whole + (seconds + fraction) / 86_400, np.nan)


def _minutes(zone: str) -> int:
    """East of Greenwich."""
    if zone in ("0", "Z", "UTC"):
        return 0
    digits = zone[1:].replace(":", "")
    return (-1 if zone[0] == "-" else 1) * (int(digits[:2]) * 60 + int(digits[2:4]))
