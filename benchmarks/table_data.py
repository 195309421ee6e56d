"""Twelve tables that the examples or PyPI packages carry; they were chosen before any score was seen.

| table | rows | columns | target | where |
| --- | --- | --- | --- | --- |
| california | 20,640 | 8 | houses, $100,000 | examples/data; columns as `fetch_california_housing` |
| adult | 48,842 | 14 | income, 2 classes | examples/data, with its own test file |
| concrete | 1,030 | 8 | strength, MPa | examples/data |
| diabetes | 442 | 10 | progression | scikit-learn |
| breast_cancer, wine, digits | 569, 178, 1,797 | 30, 13, 64 | 2, 3, 10 classes | scikit-learn |
| diamonds | 53,940 | 9 | price, $ | pydataset (ggplot2) |
| computers | 6,259 | 9 | price, $ | pydataset (Ecdat) |
| hdma | 2,381 | 12 | mortgage denied, 2 classes | pydataset (Ecdat) |
| cars | 398 | 7 | miles per gallon | vega_datasets |
| fair | 6,366 | 8 | whether there are affairs, 2 classes | statsmodels |
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

FOLDER = Path(__file__).parents[1] / "examples" / "data"
TARGET = "the target"


def california(folder: Path) -> pd.DataFrame:
    raw = pd.read_csv(folder / "california_housing.csv.bz2")
    homes = raw["households"]
    return pd.DataFrame({
        "MedInc": raw["median_income"], "HouseAge": raw["housing_median_age"], "AveRooms": raw["total_rooms"] / homes,
        "AveBedrms": raw["total_bedrooms"] / homes, "Population": raw["population"],
        "AveOccup": raw["population"] / homes, "Latitude": raw["latitude"], "Longitude": raw["longitude"],
        TARGET: raw["median_house_value"] / 1e5,
    })  # fmt: skip


def adult(folder: Path) -> pd.DataFrame:
    """The rows of the test file come last."""
    parts = [pd.read_csv(folder / f"adult_{part}.csv.gz") for part in ("train", "test")]
    return pd.concat(parts, ignore_index=True).rename(columns={"income": TARGET})


def concrete(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "concrete.csv").rename(columns={"compressive_strength": TARGET})


def cars(folder: Path) -> pd.DataFrame:
    table = pd.read_json(inside("vega_datasets") / "_data" / "cars.json").drop(columns="Name")
    return table.rename(columns={"Miles_per_Gallon": TARGET}).dropna(subset=[TARGET]).reset_index(drop=True)


def fair(folder: Path) -> pd.DataFrame:
    table = pd.read_csv(inside("statsmodels") / "datasets" / "fair" / "fair.csv")
    return table.drop(columns="affairs").assign(**{TARGET: np.where(table["affairs"] > 0, "yes", "no")})


def of_sklearn(name: str, classes: bool = True) -> Callable[[Path], pd.DataFrame]:
    def load(folder: Path) -> pd.DataFrame:
        table = getattr(import_module("sklearn.datasets"), f"load_{name}")(as_frame=True).frame
        return table.astype({"target": str} if classes else {}).rename(columns={"target": TARGET})

    return load


def of_pydataset(path: str, target: str) -> Callable[[Path], pd.DataFrame]:
    """Out of the archive in the package, which an import would unpack into the home folder."""

    def load(folder: Path) -> pd.DataFrame:
        with tarfile.open(inside("pydataset") / "resources.tar.gz") as archive:
            member = archive.extractfile(f"resources/rdata/csv/{path}.csv")
            assert member is not None
            table = pd.read_csv(io.BytesIO(member.read()), index_col=0)
        return table.rename(columns={target: TARGET}).reset_index(drop=True)

    return load


def inside(package: str) -> Path:
    """The folder of an installed package, which is not imported."""
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError(f"the table needs {package} (extra 'bench'): pip install {package}")
    return Path(found.submodule_search_locations[0])


TABLES: dict[str, Callable[[Path], pd.DataFrame]] = {
    "california": california, "adult": adult, "concrete": concrete, "diabetes": of_sklearn("diabetes", False),
    "breast_cancer": of_sklearn("breast_cancer"), "wine": of_sklearn("wine"), "digits": of_sklearn("digits"),
    "diamonds": of_pydataset("ggplot2/diamonds", "price"), "computers": of_pydataset("Ecdat/Computers", "price"),
    "hdma": of_pydataset("Ecdat/Hdma", "deny"), "cars": cars, "fair": fair,
}  # fmt: skip


def splits(name: str, table: pd.DataFrame, n: int) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
    """(training rows, test rows): a fifth by `train_test_split(random_state=0, 1, ...)`; Adult has its test file."""
    if name == "adult":
        return [(table.iloc[:32561].reset_index(drop=True), table.iloc[32561:].reset_index(drop=True))]
    split = import_module("sklearn.model_selection").train_test_split
    groups = table[TARGET] if is_classes(table) else None
    parts = [split(table, test_size=0.2, random_state=i, stratify=groups) for i in range(n)]
    return [(train.reset_index(drop=True), test.reset_index(drop=True)) for train, test in parts]


def is_classes(table: pd.DataFrame) -> bool:
    return not pd.api.types.is_numeric_dtype(table[TARGET])
