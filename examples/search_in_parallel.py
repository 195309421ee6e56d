"""scikit-learn's searches over an estimator of cnn, on processes here (joblib), on a Dask cluster or on a Ray cluster.

    python examples/search_in_parallel.py [--on joblib|dask|ray] [--jobs 2]

Dask and Ray come from PyPI (`pip install "dask[distributed]"`, `pip install ray`); here they start a cluster on this
machine. For one that is there already give its address to `Client(...)` and `ray.init(...)`: nothing else changes.
The scores are the same wherever the work is done: an estimator has the same bits for every number of threads.
"""

from __future__ import annotations

import argparse
import bz2
import contextlib
import csv
import io
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from joblib import parallel_config
from scipy.stats import loguniform
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 (makes HalvingRandomSearchCV importable)
from sklearn.model_selection import GridSearchCV, HalvingRandomSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import cnn

TABLE = Path(__file__).resolve().parent / "data" / "california_housing.csv.bz2"


def housing(rows: int) -> tuple[Any, Any]:
    """Some block groups of California: numbers, and the price in 100,000 dollars."""
    table = csv.DictReader(io.StringIO(bz2.decompress(TABLE.read_bytes()).decode()))
    found = [row for row in table if row["total_bedrooms"]]
    names = [name for name in found[0] if name not in ("ocean_proximity", "median_house_value")]
    chosen = np.random.default_rng(0).permutation(len(found))[:rows]
    X = np.array([[float(found[i][name]) for name in names] for i in chosen], np.float32)
    return X, np.array([float(found[i]["median_house_value"]) / 1e5 for i in chosen], np.float32)


@contextlib.contextmanager
def cluster(on: str, jobs: int) -> Iterator[str]:
    """Workers; gives the name of joblib's backend that uses them."""
    if on == "dask":
        from distributed import Client

        with Client(n_workers=jobs, threads_per_worker=1, dashboard_address=None):
            yield "dask"
    elif on == "ray":
        import ray
        from ray.util.joblib import register_ray

        ray.init(num_cpus=jobs, include_dashboard=False, log_to_driver=False)
        register_ray()
        try:
            yield "ray"
        finally:
            ray.shutdown()
    else:
        yield "loky"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--on", choices=["joblib", "dask", "ray"], default="joblib")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--rows", type=int, default=2000)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # so few epochs have not converged
    X, y = housing(options.rows)
    # One thread for each: the searches run as many of them as there are cores.
    network = cnn.MLPRegressor(hidden_layer_sizes=32, max_iter=20, random_state=0, n_threads=1)
    grid = GridSearchCV(
        make_pipeline(StandardScaler(), network),
        {"mlpregressor__learning_rate_init": [0.001, 0.01], "mlpregressor__activation": ["relu", "tanh"]},
        cv=3, n_jobs=options.jobs,
    )  # fmt: skip
    members = cnn.EnsembleRegressor(network, n_estimators=3, random_state=0, n_threads=1)
    halving = HalvingRandomSearchCV(
        make_pipeline(StandardScaler(), members),
        {"ensembleregressor__estimator__learning_rate_init": loguniform(1e-3, 1e-1),
         "ensembleregressor__max_samples": [0.5, 1.0]},
        n_candidates=6, min_resources=200, cv=3, n_jobs=options.jobs, random_state=0,
    )  # fmt: skip
    with cluster(options.on, options.jobs) as backend, parallel_config(backend=backend, n_jobs=options.jobs):
        for search in (grid, halving):
            start = time.perf_counter()
            search.fit(X, y)
            best = {name.rpartition("__")[2]: value for name, value in search.best_params_.items()}
            print(f"{type(search).__name__} on {options.on}: R² {search.best_score_:.6f} with {best}, "
                  f"{len(search.cv_results_['params'])} settings in {time.perf_counter() - start:.1f} s")  # fmt: skip


if __name__ == "__main__":
    main()
