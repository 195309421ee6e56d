"""A noisy sensor: how sure is this reading?
=========================================

A distance sensor reads its echo through warm or cold air, and the further away the wall, the more the echo wavers.
A number for the distance is half an answer: whoever brakes by it must know how wrong it may be, here and now. Three
networks learn the 5 %, 50 % and 95 % quantiles; readings put aside then move its ends until it keeps its word
(conformalized quantile regression, Romano, Patterson & Candès 2019).

The readings are made by formula, so that the truth is known and the band can be checked against it.

Run it: `python examples/gallery/noisy_sensor.py` (some seconds; pictures go to the current folder)
"""

import numpy as np
from matplotlib.figure import Figure

import cnn

# %%
# 9,000 readings: the time of the echo in milliseconds, the temperature, and the true distance in metres, measured
# by tape. Sound is faster in warm air, and the timer's error grows with the square of the distance.
rng = np.random.default_rng(0)
n = 9000
distance = rng.uniform(0.3, 6, n)
temperature = rng.uniform(-10, 40, n)
speed_of_sound = 331.3 + 0.606 * temperature
echo = 2000 * distance / speed_of_sound + rng.normal(0, 0.05 + 0.05 * distance**2)

X = np.column_stack([(echo - 18) / 10, (temperature - 15) / 15])  # of the order of 1, as networks like their inputs
fit, calibrate, test = slice(0, 5000), slice(5000, 7000), slice(7000, n)

# %%
# The quantile loss makes a network say below which value a share q of the distances lies: what is above costs q a
# metre, what is below 1 − q. The three train side by side, in one call.
levels = (0.05, 0.5, 0.95)
nets = [
    cnn.Network(
        [cnn.Dense(32, "silu"), cnn.Dense(32, "silu"), cnn.Dense(1)], loss=cnn.Quantile(q),
        optimizer=cnn.Adam(cnn.schedules.OneCycle(0.01)), seed=0,
    )
    for q in levels
]  # fmt: skip
cnn.train_many(nets, X[fit], distance[fit], epochs=60, batch_size=64, metrics=(), verbose=0)


def band(rows):
    """(n,) each: lower end, middle and upper end, sorted, so that they cannot cross."""
    return np.sort(np.column_stack(cnn.predict_many(nets, X[rows])), axis=1).T


# %%
# Networks may have learnt a band that is too narrow or too wide. On 2,000 readings that they never saw we look how
# far the distance lies outside it (negative: inside), and move both ends by the quantile that 90 % of the readings
# need. That this holds for new readings takes no assumption on the networks or the noise, only that new readings
# come as these did.
low, middle, high = band(calibrate)
outside = np.sort(np.maximum(low - distance[calibrate], distance[calibrate] - high))
margin = outside[int(np.ceil(0.9 * (len(outside) + 1))) - 1]
print(f"each end of the band moves outward by {100 * margin:.2f} cm")

# %%
# The usual way beside it: one network for the mean, and the same ± for all readings, wide enough for 90 % of the
# same 2,000. Both hold 90 % over all readings. The difference is where.
usual = cnn.Network(nets[0].descriptions, optimizer=cnn.Adam(cnn.schedules.OneCycle(0.01)), seed=0)
usual.fit(X[fit], distance[fit], epochs=60, batch_size=64, metrics=(), verbose=0)
half = np.quantile(np.abs(usual.predict(X[calibrate]) - distance[calibrate]), 0.9)

low, middle, high = band(test)
low, high = low - margin, high + margin
mean, true = usual.predict(X[test]), distance[test]
ways = {
    "the band": ((low <= true) & (true <= high), high - low),
    "the same ± for all": (np.abs(mean - true) <= half, np.full(len(true), 2 * half)),
}
places = {"all": middle > 0, "near (under 2 m)": middle < 2, "far (over 4 m)": middle > 4}
share = {way: {place: inside[rows].mean() for place, rows in places.items()} for way, (inside, _) in ways.items()}
for way, (_, width) in ways.items():
    for place, rows in places.items():
        print(f"{way:<18} {place:<17} holds {share[way][place]:.1%}, {100 * width[rows].mean():.0f} cm wide")
assert all(0.87 < found < 0.93 for found in share["the band"].values()), "the band holds everywhere"
assert share["the same ± for all"]["near (under 2 m)"] > 0.97, "near walls: needlessly wide"
assert share["the same ± for all"]["far (over 4 m)"] < 0.85, "far walls: it breaks its word where it counts"

# %%
# At 15 °C: readings, the learnt band, and the width that the formula of the noise alone would give (dotted), which
# the networks were never told. Near 6 m the band knows better than the formula: no wall stood further away than
# that.
line = np.linspace(2, 36, 200)
at_15 = np.column_stack([(line - 18) / 10, np.zeros(200)])
low, middle, high = np.sort(np.column_stack(cnn.predict_many(nets, at_15)), axis=1).T
figure = Figure(figsize=(9, 4.2), layout="constrained")
left, right = figure.subplots(1, 2)
near_15 = np.abs(temperature[fit] - 15) < 4
left.scatter(echo[fit][near_15], distance[fit][near_15], s=4, color="0.6", label="readings between 11 and 19 °C")
left.fill_between(line, low - margin, high + margin, color="#4477aa", alpha=0.35, label="band of 90 %")
left.plot(line, middle, color="#4477aa", label="median")
left.set(xlabel="echo (ms)", ylabel="distance (m)", xlim=(0, 38), ylim=(0, 6.5))
left.legend(frameon=False, loc="upper left")
right.plot(middle, 100 * (high - low + 2 * margin), color="#4477aa", label="the band")
right.axhline(200 * half, color="#ee6677", label="the same ± for all")
noise = (0.05 + 0.05 * middle**2) * 34.04 / 2  # cm: half of the way that sound goes in that time
right.plot(middle, 2 * 1.645 * noise, color="black", ls=":", label="by the formula of the noise")
right.set(xlabel="distance (m)", ylabel="width of the interval (cm)", ylim=(0, None))
right.legend(frameon=False, loc="upper left")
figure.savefig("noisy_sensor.png")
