"""`ImageClassifier`: labels, layers and changes that are refused, and what a fit leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
from sklearn.model_selection import KFold

import cnn

LAYERS = (cnn.Conv2D(4, 3, activation="relu"), cnn.GlobalAvgPool2D(), cnn.Dense(2))
X = np.random.default_rng(0).integers(0, 256, (40, 9, 8), dtype=np.uint8)
y = np.arange(40) % 2


def model(**how: Any) -> cnn.ImageClassifier:
    return cnn.ImageClassifier(**{"layers": LAYERS, "epochs": 1, "random_state": 0} | how)


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        (np.where(y == 0, np.nan, 1.0), "y must be labels, one for each image, got NaN or infinity among them"),
        (y + 0.5, "y must be labels of classes, not numbers to be predicted: Unknown label type: continuous"),
        (np.array(["a", None] * 20, object), "y must be labels, one for each image, got None or NaN among them"),
        (np.array(["a", np.nan] * 20, object), "got None or NaN among them"),
    ],
)
def test_what_are_no_labels(labels: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        model().fit(X, labels)


def test_an_iterator_of_changes_is_taken_once(tmp_path: Path) -> None:
    changes = [cnn.augment.Flip(), cnn.augment.Noise(0.5)]
    fitted = model(augment=iter(changes)).fit(X, y)
    assert fitted.augment_ == changes
    assert fitted.fit(X, y).augment_ == changes
    expected = model(augment=changes).fit(X, y)
    assert np.array_equal(fitted.predict_proba(X), expected.predict_proba(X))
    nets = [cnn.Network(LAYERS, loss="cross_entropy", seed=0) for _ in range(2)]
    for net, given in zip(nets, (changes, iter(changes)), strict=True):
        net.fit(X[..., None], y, epochs=1, augment=given, verbose=0)
    assert np.array_equal(*(net.predict(X[..., None]) for net in nets))
    with pytest.raises(TypeError, match=r"augment must be .*, got 'flip'"):
        nets[0].fit(X[..., None], y, epochs=1, augment="flip", verbose=0)  # type: ignore[arg-type]


def test_how_images_were_changed_is_in_the_file(tmp_path: Path) -> None:
    fitted = model(epochs=8).fit(X, y)
    assert fitted.augment_ == [cnn.augment.Shift(1)]
    fitted.save(tmp_path / "m.cnn")
    assert cnn.load(tmp_path / "m.cnn").augment_ == fitted.augment_


def test_a_fit_that_is_broken_off_leaves_all_as_it_was() -> None:
    fitted = model(augment=None).fit(X, y)
    before = fitted.network_

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fitted.set_params(augment=cnn.augment.Flip(), callbacks=[stop]).fit(X, y)
    assert (fitted.network_, fitted.augment_) == (before, [])


def test_channels_that_may_stand_first_are_warned_of() -> None:
    first = np.zeros((40, 3, 16, 16), np.float32)
    with pytest.warns(UserWarning, match="if its channels stand first, give np.moveaxis"):
        model(layers=[cnn.Flatten(), cnn.Dense(2)]).fit(first, y)


def test_texts_of_what_can_not_be() -> None:
    with pytest.raises(ValueError, match=r"effort must be one of fast, default, best, got \['fast'\]"):
        model(effort=["fast"]).fit(X, y)
    with pytest.raises(ValueError, match="max_seconds leaves 0 s"):
        model(max_seconds=1e-12).fit(X, y)
    with pytest.raises(ValueError, match=r"class b has one image, and validation_split \(--valid\) holds out"):
        model(validation_split=0.5).fit(X, ["a"] * 39 + ["b"])
    with pytest.raises(ValueError, match="layers"):
        model(layers=[]).fit(X, y)


@pytest.mark.parametrize("images", [X[..., None], X[..., None].astype(np.float32) / 255])
def test_networks_for_images_are_cross_validated(images: Any) -> None:
    how: dict[str, Any] = {"epochs": 2, "batch_size": 8, "verbose": 0}
    net = cnn.Network(LAYERS, loss="cross_entropy", seed=0)
    found = cnn.cross_validate(net, images, y, cv=KFold(2), **how)
    for i, (train, test) in enumerate(KFold(2).split(images)):
        own = cnn.Network(LAYERS, loss="cross_entropy", seed=0)
        own.fit(images[train], y[train], **how)
        assert found["test_loss"][i] == pytest.approx(own.evaluate(images[test], y[test])["loss"], rel=1e-6)


def test_partial_dependence_of_images_is_refused() -> None:
    fitted = model().fit(X, y)
    for one in (fitted, fitted.network_):
        with pytest.raises(ValueError, match=r"reads inputs of shape \(9, 8, 1\); .* cnn\.explain\.integrated"):
            cnn.explain.partial_dependence(one, X, 0)
