"""A thousand small models
=======================

A utility has a thousand houses and one question for each morning: whose heating is broken? No two houses use energy
alike, so what is odd in one is normal next door, and one model for all is blind to it. `cnn.train_many` trains a
network for each house, all of them in one call, in seconds. Then each house is compared with itself.

The meters are made by formula, and ten of the thousand heatings break, so that the search can be scored.

Run it: `python examples/gallery/thousand_models.py` (some seconds; pictures go to the current folder)
"""

import time

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import cnn

# %%
# Each house has its own idle load, insulation, temperature below which it heats, and hour of cooking. 240 hourly
# readings of last winter teach, and 60 of this week are to be judged.
HOUSES, BEFORE, NOW = 1000, 240, 60
rng = np.random.default_rng(0)
idle, insulation, limit, evening, peak = rng.uniform(
    [0.2, 0.02, 10, 0.3, 16], [1.5, 0.30, 20, 2.0, 21], size=(HOUSES, 5)
).T


def meter(house, cold, hour, broken):
    """kW: idle, heating, cooking and chance; a heating that is broken takes a tenth more for the same warmth."""
    heating = insulation[house] * np.clip(limit[house] - cold, 0, None) * np.where(broken, 1.1, 1)
    cooking = evening[house] * np.exp(-((hour - peak[house]) ** 2) / 3)
    return idle[house] + heating + cooking + 0.15 * rng.normal(size=len(house))


house = np.repeat(np.arange(HOUSES), BEFORE + NOW)
this_week = np.tile(np.arange(BEFORE + NOW) >= BEFORE, HOUSES)
cold, hour = rng.uniform(-10, 22, len(house)), rng.integers(0, 24, len(house))
faulty = rng.choice(HOUSES, 10, replace=False)
readings = pd.DataFrame({"house": house, "temperature": cold, "hour": hour})
readings["kW"] = meter(house, cold, hour, this_week & np.isin(house, faulty))

# %%
# The inputs, of the order of 1: the temperature, and the hour on a circle, so that 23 is next to 0.
X = np.column_stack([(cold - 6) / 10, np.sin(hour * np.pi / 12), np.cos(hour * np.pi / 12)]).astype(np.float32)
y = readings["kW"].to_numpy(np.float32)


def network(seed):
    optimizer = cnn.AdamW(cnn.schedules.OneCycle(0.05), weight_decay=0.03)
    return cnn.Network([cnn.Dense(12, "tanh"), cnn.Dense(1)], optimizer=optimizer, seed=seed)


# %%
# All thousand in one call. `rows` says which rows are whose; the data are shared, none are copied. To the bit it is
# what `fit` would make of each alone, which the first house confirms.
last_winter = readings[~this_week]
rows = [last_winter.index[places].to_numpy() for places in last_winter.groupby("house").indices.values()]
nets = [network(seed) for seed in range(HOUSES)]
start = time.perf_counter()
cnn.train_many(nets, X, y, rows=rows, epochs=150, batch_size=32, metrics=(), verbose=0)
print(f"{HOUSES:,} networks in {time.perf_counter() - start:.1f} s")

alone = network(0)
alone.fit(X[rows[0]], y[rows[0]], epochs=150, batch_size=32, metrics=(), verbose=0)
assert np.array_equal(alone.predict(X[rows[0]]), nets[0].predict(X[rows[0]])), "the same bits as alone"

# %%
# Beside it, one network for all, which is fair: it is larger, and is told the mean load of each house.
mean_load = last_winter.groupby("house")["kW"].mean().to_numpy(np.float32)[house]
X_all = np.column_stack([X, mean_load - mean_load.mean()])
for_all = cnn.Network(
    [cnn.Dense(64, "silu"), cnn.Dense(64, "silu"), cnn.Dense(1)],
    optimizer=cnn.Adam(cnn.schedules.OneCycle(0.01)), seed=0,
)  # fmt: skip
for_all.fit(X_all[~this_week], y[~this_week], epochs=5, batch_size=256, metrics=(), verbose=0)

# %%
# This week: each house by its own network, and by the one for all. Houses whose heating works say how good they
# are; chance alone makes 0.15 kW.
weeks = X[this_week].reshape(HOUSES, NOW, -1)
own = np.stack(cnn.predict_many(nets, list(weeks)))
actual = y[this_week].reshape(HOUSES, NOW)
excess = {"own network": actual - own, "one for all": actual - for_all.predict(X_all[this_week]).reshape(HOUSES, NOW)}
sound = np.setdiff1d(np.arange(HOUSES), faulty)
for name, off in excess.items():
    print(f"{name}: {np.sqrt(np.mean(off[sound] ** 2)):.3f} kW off in houses whose heating works")

# %%
# Whom to visit first? Houses in the order of what they took above what was expected. One thing no model can help: a
# heating that hardly runs this week does not show that it is broken.
found = {name: np.isin(np.argsort(-off.mean(axis=1))[:20], faulty).sum() for name, off in excess.items()}
for name, n in found.items():
    print(f"twenty visits by the list of {name}: {n} of the 10 broken heatings found")
assert found["own network"] >= 7
assert found["own network"] > found["one for all"] + 2

figure = Figure(figsize=(10, 4), layout="constrained")
for axes, (name, off) in zip(figure.subplots(1, 2, sharey=True), excess.items(), strict=True):
    order = np.argsort(-off.mean(axis=1))
    axes.plot(np.arange(1, HOUSES + 1), off.mean(axis=1)[order], color="#4477aa")
    place = np.flatnonzero(np.isin(order, faulty))
    axes.plot(place + 1, off.mean(axis=1)[order[place]], "o", color="#ee6677", label="its heating is broken")
    axes.axvspan(1, 20, color="0.9", label="twenty visits")
    axes.set(xscale="log", xlabel="houses, the oddest first", title=name, ylim=(-0.3, 0.6))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.grid(alpha=0.3)
axes.legend(frameon=False)
figure.axes[0].set_ylabel("kW above what was expected")
figure.savefig("thousand_models.png")
