"""What a search has found: a table, a picture, the best settings and their network."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from cnn import plots
from cnn._common import html_tables
from cnn.inspect import reports
from cnn.network import Network
from cnn.tuning.candidates import Measure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SETTING, EPOCHS, SECONDS = "setting", "epochs", "seconds"  # what a trial remembers
JUDGED = "judged"  # what a study remembers: how many settings' course is known to its end
_STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "diverged"}
_SHOWN = 10  # settings in a printed table


def finished(study: Any) -> list[Any]:
    """The trials whose course is known to its end; of one that was broken off and tried again, the last."""
    judged = study.user_attrs.get(JUDGED, 0)
    trials = {trial.user_attrs.get(SETTING, judged): trial for trial in study.get_trials(deepcopy=False)}
    return [trial for number, trial in trials.items() if number < judged]


class SearchResult:
    """The settings that were tried, and the best of them.

    `results` is a dict of lists with an entry for each setting, in their order: "state" ("complete"; "pruned", given up
    early; "diverged"), the score by the name of the metric (None where it diverged), "epochs", "seconds", and each
    setting by its name. It prints as a table, the best first. `best_settings`, `best_score` are of the best that was
    trained to the end, `networks` its networks, one for each fold, with the weights of their best epochs, and `network`
    the first of them. `study` is Optuna's. `cnn.search` makes it.

    Args:
        study: Optuna's.
        build: what makes networks of its settings.
        measure: what settings were compared by.
        networks: of the best setting, one for each fold.
        winner: the trial of the best setting.

    >>> import numpy as np, cnn
    >>> X = np.random.default_rng(0).normal(size=(60, 2))
    >>> found = cnn.search({"units": [2, 4]}, X, X[:, 0], budget=2, epochs=2, factor=1, verbose=0)
    >>> sorted(found.results)
    ['epochs', 'rmse', 'seconds', 'state', 'units']
    """

    def __init__(self, study: Any, build: Any, measure: Measure, networks: list[Network], winner: Any) -> None:
        self.study, self.networks, self.metric, self.larger_is_better = study, networks, measure.name, measure.larger
        self.best_settings: dict[str, Any] = build.values(winner.params)
        self.best_score = float(winner.value)
        trials = sorted(finished(study), key=lambda trial: trial.user_attrs[SETTING])
        found = [build.values(trial.params) for trial in trials]
        kinds = {name: kind for trial in trials for name, kind in trial.distributions.items()}
        self._scales = {name: getattr(kind, "log", None) for name, kind in kinds.items()}  # None: choices
        self.settings = list(kinds)
        self.results: dict[str, list[Any]] = {
            "state": [_STATES[trial.state.name] for trial in trials],
            self.metric: [None if trial.state.name == "FAIL" else trial.value for trial in trials],
            "epochs": [trial.user_attrs[EPOCHS] for trial in trials],
            "seconds": [trial.user_attrs[SECONDS] for trial in trials],
            **{name: [values.get(name) for values in found] for name in self.settings},
        }  # fmt: skip

    @property
    def network(self) -> Network:
        """The network of the best settings, trained on all rows but the held-out ones (of the first fold)."""
        return self.networks[0]

    def order(self) -> list[int]:
        """The places in `results`: those trained to the end first, and of these the best."""
        sign, scores, states = -1 if self.larger_is_better else 1, self.results[self.metric], self.results["state"]
        return sorted(
            range(len(scores)), key=lambda i: (states[i] != "complete", scores[i] is None, sign * (scores[i] or 0))
        )

    def _rows(self) -> list[tuple[str, ...]]:
        names = [self.metric, "state", "epochs", "seconds", *self.settings]
        shown = self.order()[:_SHOWN]
        return [tuple(names), *(tuple(_cell(self.results[name][i]) for name in names) for i in shown)]

    def __str__(self) -> str:
        left = len(self.results["state"]) - _SHOWN
        more = f"\n... and {left} more" if left > 0 else ""
        rows = self._rows()
        return reports.table(rows, right=len(rows[0])) + more

    def __repr__(self) -> str:
        return f"SearchResult({len(self.results['state'])} settings, best {self.metric} {self.best_score:.4g})"

    def _repr_html_(self) -> str:
        return html_tables.table(self._rows(), repr(self))

    def to_frame(self) -> pd.DataFrame:
        """`results` as a data frame (needs the extra `pandas`)."""
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError("to_frame needs pandas (extra 'pandas'): pip install pandas") from error
        return pd.DataFrame(self.results)

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """The scores in the order of the trials, and over each setting (needs the extra `plot`)."""
        figure = plots.search(self.results, self.metric, self._scales, self.larger_is_better)
        if path is not None:
            figure.savefig(path, dpi=120)
        return figure


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
