"""scikit-learn's searches over the estimators by joblib's processes, on Dask and on Ray: the same scores everywhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.9")
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import cnn

PROGRAM = Path(__file__).resolve().parents[1] / "examples" / "search_in_parallel.py"
ROWS = 600
SCORE = re.compile(r"^(\w+) on (\w+): R² (\S+) with (.*), (\d+) settings in ", re.M)


def scores(on: str, home: Path) -> dict[str, tuple[str, str, str]]:
    """{search: (best score, best settings, how many)} of the example, in a process of its own."""
    # What Ray writes into the home directory is not for others.
    environment = {**os.environ, "HOME": str(home), "PYTHONIOENCODING": "utf-8", "RAY_USAGE_STATS_ENABLED": "0"}
    command = [sys.executable, str(PROGRAM), "--on", on, "--rows", str(ROWS)]
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return {name: (score, best, n) for name, where, score, best, n in SCORE.findall(done.stdout) if where == on}


@pytest.fixture(scope="module")
def by_processes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str, str]]:
    return scores("joblib", tmp_path_factory.mktemp("home"))


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_processes(by_processes: dict[str, tuple[str, str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """The scores of the grid are those of one process."""
    assert set(by_processes) == {"GridSearchCV", "HalvingRandomSearchCV"}
    monkeypatch.syspath_prepend(PROGRAM.parent)
    import search_in_parallel

    X, y = search_in_parallel.housing(ROWS)
    network = cnn.MLPRegressor(hidden_layer_sizes=32, max_iter=20, random_state=0)
    grid = {"mlpregressor__learning_rate_init": [0.001, 0.01], "mlpregressor__activation": ["relu", "tanh"]}
    alone = GridSearchCV(make_pipeline(StandardScaler(), network), grid, cv=3).fit(X, y)
    assert float(by_processes["GridSearchCV"][0]) == pytest.approx(alone.best_score_, abs=1e-6)
    assert np.ptp(alone.cv_results_["mean_test_score"]) > 0.01


def test_dask(by_processes: dict[str, tuple[str, str, str]], tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    assert scores("dask", tmp_path) == by_processes


def test_ray(by_processes: dict[str, tuple[str, str, str]], tmp_path: Path) -> None:
    pytest.importorskip("ray")
    assert scores("ray", tmp_path) == by_processes
