"""A surrogate of a simulation, and its inverse
============================================

A simulation says what comes of given settings. Engineers ask the other way round: which settings give what I want?
The simulation cannot be run backwards, and has no slope to follow. A network that has learnt it has both: it
answers many times faster, and `backward` gives the slope with respect to its inputs, so that gradient descent finds
the settings. The simulation has the last word.

The simulation here is a ball in flight with drag and wind; think of your own, which takes minutes in place of
milliseconds.

Run it: `python examples/gallery/surrogate.py` (some seconds; pictures go to the current folder)
"""

import time

import numpy as np
from matplotlib.figure import Figure

import cnn

LOW, HIGH = np.array([10.0, 0.2, 0.0, -5.0]), np.array([40.0, 1.3, 0.02, 5.0])  # speed, angle, drag, wind: SI units


# %%
# The simulation: small Euler steps until each ball is down.
def throw(settings):
    """Range (n,) in metres of throws (n, 4)."""
    speed, angle, drag, wind = settings.T
    x, y = np.zeros(len(speed)), np.zeros(len(speed))
    u, v = speed * np.cos(angle), speed * np.sin(angle)
    while (flying := (y >= 0)).any():
        air = drag * np.hypot(u - wind, v)
        step = 0.002 * flying
        x, y = x + step * u, y + step * v
        u, v = u - step * air * (u - wind), v - step * (9.81 + air * v)
    return x


def settings(z):
    """The network's inputs, -1 .. 1, in SI units."""
    return LOW + (np.asarray(z) + 1) / 2 * (HIGH - LOW)


# %%
# 4,000 throws to learn from, 500 others to test. A smooth function wants a smooth activation, `silu`, and a
# learning rate that ends near zero.
rng = np.random.default_rng(0)
Z = rng.uniform(-1, 1, size=(4500, 4))
start = time.perf_counter()
reach = throw(settings(Z))
simulated = time.perf_counter() - start
scale = reach[:4000].std()

net = cnn.Network(
    [cnn.Dense(64, "silu"), cnn.Dense(64, "silu"), cnn.Dense(1)],
    optimizer=cnn.Adam(learning_rate=cnn.schedules.OneCycle(0.01)), seed=0,
)  # fmt: skip
net.fit(Z[:4000], reach[:4000] / scale, epochs=150, batch_size=64, metrics=(), verbose=0)

start = time.perf_counter()
predicted = net.predict(Z) * scale
answered = time.perf_counter() - start
error = cnn.metrics.rmse(reach[4000:], predicted[4000:])
print(f"ranges from {reach.min():.0f} to {reach.max():.0f} m; RMSE of the network on 500 other throws: {error:.2f} m")
print(f"4,500 throws take the simulation {simulated:.2f} s, the network {answered:.4f} s")
assert error < 0.02 * reach.std(), "the network is off by more than 2 % of the ranges' deviation"

# %%
# The inverse. Drag and wind are what they are today; speed and angle are sought. Each round asks the network for
# the range, takes the slope of (range − wanted)² with respect to the inputs, and goes a little downhill, within
# what can be thrown.
wanted = np.array([20.0, 40.0, 60.0])
z = np.array([[0.0, 0.5, -0.5, 0.4], [-0.8, 0.0, -0.5, 0.4], [0.9, -0.4, -0.5, 0.4]])  # three places to begin at
path = [z.copy()]
for _ in range(300):
    missing = net.forward(z) - wanted[:, None] / scale
    slope = net.backward(2 * missing)
    z[:, :2] = np.clip(z[:, :2] - 0.05 * slope[:, :2], -1, 1)
    path.append(z.copy())

found = settings(z)
hits = throw(found)
for goal, (speed, angle, _, _), hit in zip(wanted, found, hits, strict=True):
    print(f"for {goal:.0f} m: {speed:.1f} m/s at {np.degrees(angle):.1f} degrees; the simulation says {hit:.2f} m")
assert np.abs(hits - wanted).max() < 1, "the network's throw misses by more than a metre"

# %%
# Left: the network is worst where the training throws are rarest, so a search there needs the last word most. Right:
# its map of all speeds and angles of today, and the ways of the three searches. A whole line of throws reaches the
# same range; descent takes one near where it began.
speeds, angles = np.meshgrid(np.linspace(-1, 1, 90), np.linspace(-1, 1, 90))
today = np.stack([speeds, angles, np.full_like(speeds, -0.5), np.full_like(speeds, 0.4)], axis=-1)
surface = net.predict(today.reshape(-1, 4)).reshape(speeds.shape) * scale
figure = Figure(figsize=(9.5, 4.2), layout="constrained")
left, right = figure.subplots(1, 2)
left.scatter(reach[4000:], predicted[4000:] - reach[4000:], s=6, color="#4477aa")
left.axhline(0, color="#ee6677")
left.set(xlabel="range by the simulation (m)", ylabel="network − simulation (m)", title="500 throws it has not seen")

unit = settings(today)
right.contourf(unit[..., 0], np.degrees(unit[..., 1]), surface, levels=20, cmap="viridis")
lines = right.contour(unit[..., 0], np.degrees(unit[..., 1]), surface, levels=wanted, colors="white")
right.clabel(lines, fmt="%.0f m")
for way in settings(path).transpose(1, 0, 2):
    right.plot(way[:, 0], np.degrees(way[:, 1]), ".-", color="#ee6677", ms=4)
    right.plot(way[-1, 0], np.degrees(way[-1, 1]), "o", color="#ee6677")
right.set(xlabel="speed (m/s)", ylabel="angle (degrees)", title="the inverse: three wanted ranges")
figure.savefig("surrogate.png")
