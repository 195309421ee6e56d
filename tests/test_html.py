"""What notebooks show of networks, histories, table models and diagnoses: whole, small, and safe."""

from __future__ import annotations

import html.parser
from typing import Any

import numpy as np
import pandas as pd
import pytest

import cnn

X = np.random.default_rng(0).normal(size=(40, 2))
NASTY = "<script>alert('&')</script>"


class Texts(html.parser.HTMLParser):
    """The cells and items of a page, and whether all that was opened is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.texts: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture(scope="module")
def model() -> cnn.TableModel:
    table = pd.DataFrame({NASTY: X[:, 0], "b": X[:, 1], "y": X[:, 0]})
    return cnn.TableModel("y", epochs=2, members=1, hidden=(3,), seed=0).fit(table, verbose=0)


def test_a_network() -> None:
    net = cnn.Network([cnn.Dense(3, "relu"), cnn.Dense(1)], seed=0)
    assert Texts(net._repr_html_()).texts == [repr(net)]
    page = Texts(net.build(2)._repr_html_())
    assert page.texts[:1] == ["13 parameters, float32, 52 bytes; loss mse, optimizer Adam"]
    assert page.texts[1:9] == ["layer", "description", "units", "parameters", "layers.0", "Dense(3, 'relu')", "3", "9"]


@pytest.mark.parametrize("epochs", [0, 1, 30])
def test_a_history(epochs: int) -> None:
    history = cnn.Network([cnn.Dense(1)], seed=0).fit(X, X[:, 0], epochs=epochs, verbose=0)
    page = Texts(history._repr_html_())
    assert page.texts[0] == f"History({epochs} epoch{'' if epochs == 1 else 's'})"
    assert page.texts[1:4] == ["epoch", "loss", "rmse"]
    assert page.texts.count(f"{history.loss[-1]:.4g}" if epochs else "no such text") == (1 if epochs else 0)
    assert len(page.texts) - 6 == 5 * min(epochs, 10)


def test_a_diagnosis() -> None:
    net = cnn.Network([cnn.Dense(3, "sigmoid"), cnn.Dense(1)], seed=0).build(2)
    found = cnn.diagnose(net, 100 * X, X[:, 0])
    page = Texts(found._repr_html_())
    assert page.texts[-len(found.advice) :] == list(found.advice)
    assert "layers.0" in page.texts


def test_a_table_model_escapes_names(model: cnn.TableModel) -> None:
    page = Texts(model._repr_html_())
    assert page.seen == {"code", "table", "thead", "tbody", "tr", "th", "td", "ul", "li"}
    assert any(NASTY in text for text in page.texts)
    assert "validation" in page.texts
    assert page.texts[-len(model.notes) :] == list(model.notes)
    assert Texts(cnn.TableModel(NASTY)._repr_html_()).texts == [repr(cnn.TableModel(NASTY))]


def test_one_is_one(model: cnn.TableModel) -> None:
    assert "1 network of" in repr(model)
    assert repr(cnn.Network([cnn.Dense(1)], seed=0).fit(X, X[:, 0], epochs=1, verbose=0)).startswith("History(1 epoch:")
