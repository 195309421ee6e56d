"""Callbacks in the fit of a table model, which trains several networks one after another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import Break

import cnn

RNG = np.random.default_rng(0)
TABLE = {"a": RNG.normal(size=120), "b": RNG.choice(["x", "y"], 120), "y": RNG.normal(size=120)}
QUICK: dict[str, Any] = {"hidden": (4,), "epochs": 4, "batch_size": 32, "members": 3, "seed": 1}


def fitted(callbacks: Any = (), **how: Any) -> cnn.TableModel:
    return cnn.TableModel("y", **QUICK).fit(TABLE, callbacks=callbacks, verbose=0, **how)


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.cnn"))


def test_each_network_has_its_checkpoints(tmp_path) -> None:
    model = fitted([cnn.Checkpoint(tmp_path / "run", keep=1)])
    last = "step-000000000016.cnn"  # 4 epochs of 4 steps
    assert names(tmp_path / "run") == [f"member-{i}/{last}" for i in range(3)]
    for i, net in enumerate(model.networks):
        assert cnn.load(tmp_path / "run" / f"member-{i}" / last).seed == net.seed


@pytest.mark.parametrize("epochs", [2, 5, 9])
def test_a_broken_fit_goes_on_to_the_same_bits(epochs: int, tmp_path) -> None:
    """Broken off in the first, second and third network."""
    expected = fitted().predict(TABLE)
    keep, run = [cnn.Checkpoint(tmp_path / "run"), Break(epochs)], tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        fitted(keep)
    again = fitted([cnn.Checkpoint(run)], resume=run)
    assert again.predict(TABLE).tobytes() == expected.tobytes()
    assert fitted([cnn.Checkpoint(run)], resume=run).predict(TABLE).tobytes() == expected.tobytes()


def test_one_network_needs_no_folder_of_its_own(tmp_path) -> None:
    cnn.TableModel("y", **{**QUICK, "members": 1}).fit(TABLE, callbacks=[cnn.Checkpoint(tmp_path)], verbose=0)
    assert names(tmp_path)[-1] == "step-000000000016.cnn"


def test_saved_models_do_not_take_each_others_place(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"would write 3 networks to .*, one over the other: put \{member\} in it"):
        fitted([cnn.SaveModel(tmp_path / "best.cnn", monitor="val_loss")])
    assert names(tmp_path) == []
    model = cnn.TableModel("y", **QUICK, patience=9).fit(
        TABLE, callbacks=[cnn.SaveModel(tmp_path / "best-{member}.cnn", monitor="val_loss")], verbose=0
    )
    assert names(tmp_path) == [f"best-{i}.cnn" for i in range(3)]
    for i, net in enumerate(model.networks):  # the best weights were restored
        assert np.array_equal(cnn.load(tmp_path / f"best-{i}.cnn").flat, net.flat)
