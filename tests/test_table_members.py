"""The networks of a table model: what each holds out, that they are trained as alone, what they say of rows unseen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnn
from cnn.table import lesson
from cnn.table.architecture import network_of
from cnn.table.lesson import Lesson
from cnn.table.settings import Settings

pd = pytest.importorskip("pandas")
RNG, N = np.random.default_rng(0), 203
TABLE = pd.DataFrame({
    "a": RNG.normal(size=N), "b": RNG.choice(["x", "y"], N), "of": RNG.choice(["p", "q", "r"], N, p=[0.1, 0.3, 0.6]),
    "y": np.where(RNG.random(N) < 0.03, np.nan, RNG.normal(size=N)),
})  # fmt: skip
QUICK: dict[str, Any] = {"hidden": (4,), "epochs": 4, "batch_size": 32, "seed": 1}


def taught(members: int, valid: float = 0.1, target: str = "y", table: Any = TABLE, validation: Any = None) -> Lesson:
    return lesson.of_frame(table, target, Settings(members=members, valid=valid), 5, validation)


def dense(X: Any) -> Any:
    """What compact rows are short for."""
    return X if isinstance(X, np.ndarray) else X.to_scipy().toarray()


@pytest.mark.parametrize(("members", "valid", "parts"), [
    (1, 0.1, 1), (2, 0.1, 2), (4, 0.1, 4), (5, 0.1, 5), (23, 0.1, 5), (3, 0.25, 2), (2, 0.5, 1), (4, 0.7, 1),
    (3, 0.3, 1), (9, 0.15, 3), (2, 0.001, 2), (1, 0.98, 1),
])  # fmt: skip
@pytest.mark.parametrize("target", ["y", "of"])
@pytest.mark.parametrize("piece", [1 << 16, 13])
def test_each_network_holds_out_a_part(
    members: int, valid: float, parts: int, target: str, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lesson, "_PIECE", piece)
    found = taught(members, valid, target)
    known = np.flatnonzero(TABLE[target].notna())
    assert (found.parts, found.n) == (parts, len(known))
    cells, held = TABLE[target], []
    for member in range(members):
        train, aside = found.of_member(member)
        held.append(aside.numbers)
        assert len(train) >= 1
        assert len(aside) >= 1
        assert abs(len(aside) - valid * len(known)) < 1 + 1e-9
        assert sorted([*train.numbers, *aside.numbers]) == known.tolist()
        for rows in (train, aside):
            order = np.argsort(rows.numbers)
            assert np.array_equal(dense(rows.X)[order], found.encoder.encode(TABLE, rows.numbers[order]))
            assert np.array_equal(rows.y, found.goal.numbers(cells.iloc[rows.numbers]))
            assert np.array_equal(rows.scaled, found.goal.scaled(rows.y))
            own, all_of_them = (getattr(X, "values", X) for X in (rows.X, found.circle.X))
            assert np.shares_memory(own, all_of_them)
        if target == "of":  # walking through the classes, each gives its share but for what their ends leave
            for name in "pqr":
                assert abs((cells.iloc[aside.numbers] == name).sum() - valid * (cells == name).sum()) < 2
    for member in range(members):
        assert np.array_equal(held[member], held[member % parts])
    different = np.concatenate(held[:parts])
    assert len(set(different)) == len(different)
    assert np.array_equal(found.held_out, np.sort(different))
    assert len(found.teaching) == (found.n if parts > 1 else found.n - len(different))


def test_a_seed_draws_the_parts() -> None:
    one, two, other = (lesson.of_frame(TABLE, "y", Settings(members=2), seed, None) for seed in (0, 0, 1))
    assert np.array_equal(dense(one.circle.X), dense(two.circle.X))
    assert not np.array_equal(one.held_out, other.held_out)


def test_a_table_given_is_held_out_by_all() -> None:
    found = taught(3, validation=TABLE.iloc[:20])
    assert found.parts == 1
    known = np.flatnonzero(TABLE["y"].notna())
    for member in range(3):
        train, aside = found.of_member(member)
        assert np.array_equal(train.numbers, known)
        assert np.array_equal(aside.numbers, known[known < 20])
    assert len(found.teaching) == len(known)


def alone(model: cnn.TableModel, member: int) -> Any:
    """The network with that number, trained by itself."""
    settings = model.settings.chosen(model.task, N, model.encoder.embedded)
    found = lesson.of_frame(TABLE, model.target, model.settings, model.seed, None)
    net = network_of(settings, found.goal, found.encoder, model.seed + member)
    train, aside = found.of_member(member)
    net.fit(train.X, train.scaled, epochs=settings.epochs, batch_size=settings.batch_size, verbose=0, metrics=(),
            validation_data=(aside.X, aside.scaled))  # fmt: skip
    return net


@pytest.mark.parametrize("target", ["y", "of", "b"])
def test_rows_held_out_are_predicted_by_those_that_have_not_seen_them(target: str) -> None:
    """Each network is the one that is trained by itself, and the mean is that of those which held a row out."""
    model = cnn.TableModel(target, **QUICK, members=5, valid=0.15).fit(TABLE, verbose=0)
    nets = [alone(model, member) for member in range(5)]
    for ours, theirs in zip(model.networks, nets, strict=True):
        assert np.array_equal(ours.flat, theirs.flat)
    known, found = model.out_of_member, lesson.of_frame(TABLE, target, model.settings, model.seed, None)
    assert known is not None
    assert np.array_equal(known.rows, model.held_out)
    assert (np.diff(known.rows) > 0).all()
    assert np.array_equal(known.y, model.goal.numbers(TABLE[target].iloc[known.rows]))
    for part, which in enumerate([(0, 3), (1, 4), (2,)]):
        rows = found.of_member(part)[1].numbers
        X = model.encoder.features(TABLE, rows)
        outputs = np.mean([nets[i].predict(X).astype(float) for i in which], axis=0)
        if target == "y":
            outputs = outputs * model.goal.deviation + model.goal.mean
        np.testing.assert_allclose(known.outputs[np.searchsorted(known.rows, rows)], outputs, rtol=1e-12)
    first = "rmse" if target == "y" else "log_loss"
    answer = getattr(cnn.metrics, first)(known.y if target == "y" else known.y.astype(int), known.outputs)
    assert model.scores["validation"][first] == answer
    seen = TABLE[TABLE[target].notna()]
    assert model.scores["training"] == pytest.approx(model.evaluate(seen))


def test_scores_of_rows_held_out_are_honest() -> None:
    """Of a target that is noise nobody predicts rows that he has not seen; the edges of bins have not seen them."""
    rng = np.random.default_rng(1)
    table = {**{f"x{i}": rng.normal(size=300) for i in range(8)}, "y": rng.normal(size=300)}
    model = cnn.TableModel("y", members=10, epochs=60, hidden=(64,), dropout=0, seed=0).fit(table, verbose=0)
    assert model.out_of_member is not None
    assert len(model.out_of_member.rows) == 150
    assert model.scores["training"]["r2"] > 0.1
    assert model.scores["validation"]["r2"] < 0.05


class Own(cnn.Callback):
    """A callback that is for one network at a time."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_epoch_end(self, network: Any, epoch: int, logs: Any) -> None:
        self.seen.append((network.seed, epoch))


def test_one_after_another_and_side_by_side_are_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    model, own, seen = cnn.TableModel("y", **QUICK, members=3), Own(), []
    by_one = model.fit(TABLE, verbose=0, callbacks=[own]).predict(TABLE)
    assert own.seen == [(seed, epoch) for seed in (1, 2, 3) for epoch in range(4)]
    at_once = model.fit(TABLE, verbose=0, callbacks=[lambda net, epoch, logs: seen.append((net.seed, epoch))])
    assert at_once.predict(TABLE).tobytes() == by_one.tobytes()
    assert sorted(seen) == own.seen
    assert model.fit(TABLE, verbose=2, n_threads=1).predict(TABLE).tobytes() == by_one.tobytes()
    said = capsys.readouterr().out
    assert all(f"network {i}, epoch 4: loss" in said for i in range(3))


def test_a_fit_broken_off_goes_on_side_by_side(tmp_path: Path) -> None:
    expected = cnn.TableModel("y", **QUICK, members=3).fit(TABLE, verbose=0).predict(TABLE)
    run, seen = tmp_path / "run", []

    def stop(*_: Any) -> None:
        seen.append(0)
        if len(seen) == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cnn.TableModel("y", **QUICK, members=3).fit(TABLE, verbose=0, callbacks=[cnn.Checkpoint(run), stop])
    assert {path.parent.name for path in run.rglob("step-*.cnn")} == {"member-0", "member-1", "member-2"}
    model = cnn.TableModel("y", **QUICK, members=3).fit(TABLE, verbose=0, callbacks=[cnn.Checkpoint(run)], resume=run)
    assert model.predict(TABLE).tobytes() == expected.tobytes()
    with pytest.raises(ValueError, match="holds the checkpoints of 3 networks, here are 2"):
        cnn.TableModel("y", **QUICK, members=2).fit(TABLE, verbose=0, callbacks=[cnn.Checkpoint(run)], resume=run)


def test_the_first_error_of_a_network_is_the_fits() -> None:
    def odd(network: Any, epoch: int, logs: Any) -> None:
        if network.seed == 2:
            raise OSError("the disk is full")

    model = cnn.TableModel("y", **QUICK, members=3)
    with pytest.raises(OSError, match="the disk is full"):
        model.fit(TABLE, verbose=0, callbacks=[odd])
    assert model.networks == ()


def test_a_file_has_no_rows(tmp_path: Path) -> None:
    model = cnn.TableModel("y", **QUICK, members=2).fit(TABLE, verbose=0)
    model.save(tmp_path / "m.cnn")
    again = cnn.load(tmp_path / "m.cnn")
    assert isinstance(again, cnn.TableModel)
    assert again.out_of_member is None
    assert again.scores == model.scores
