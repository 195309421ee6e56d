"""Tables with every version of pandas: numbers written as text are those that Python reads."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cnn.table import frames

RNG = np.random.default_rng(0)
TEXTS = [repr(x) for x in [*RNG.uniform(-1000, 1000, 300).tolist(), *(10 ** RNG.uniform(-300, 300, 300)).tolist()]]


@pytest.mark.parametrize("dtype", [object, "string"])
def test_numbers_of_text_have_all_their_digits(dtype: object) -> None:
    series = pd.Series([*TEXTS, " 0.1 ", "9007199254740993", None, "nan", "inf", "x"], dtype=dtype)
    values, bad = frames.as_numbers(series)
    expected = [*map(float, TEXTS), 0.1, 9007199254740992.0]
    assert values[: len(expected)].tolist() == expected
    assert np.isnan(values[len(expected) :]).all()
    assert np.flatnonzero(bad).tolist() == [len(series) - 1]
