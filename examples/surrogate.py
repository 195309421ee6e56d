"""A network in place of a simulation, and its input gradients: which throw hits the target?

The simulation integrates the flight of a ball with drag and wind. A network learns the range from 4,000 throws;
gradient descent on the network's inputs, with `forward` and `backward`, then finds throws that reach wanted ranges. The
simulation has the last word. Run it: python examples/surrogate.py
"""

from __future__ import annotations

from typing import Any

import numpy as np

import cnn

Array = np.ndarray[Any, Any]
LOW, HIGH = np.array([10.0, 0.2, 0.0, -5.0]), np.array([40.0, 1.3, 0.02, 5.0])  # speed, angle, drag, wind: SI units


def throw(parameters: Array) -> Array:
    """Range (n,) in metres of throws (n, 4), by small Euler steps until each ball is down."""
    speed, angle, drag, wind = parameters.T
    x, y = np.zeros(len(speed)), np.zeros(len(speed))
    u, v = speed * np.cos(angle), speed * np.sin(angle)
    while (flying := (y >= 0)).any():
        air = drag * np.hypot(u - wind, v)
        step = 0.002 * flying
        x, y = x + step * u, y + step * v
        u, v = u - step * air * (u - wind), v - step * (9.81 + air * v)
    return x


def main() -> None:
    rng = np.random.default_rng(0)
    Z = rng.uniform(-1, 1, size=(4500, 4))  # the network's inputs: parameters scaled to -1 .. 1
    reach = throw(LOW + (Z + 1) / 2 * (HIGH - LOW))
    scale = reach[:4000].std()
    net = cnn.Network(
        [cnn.Dense(64, "silu"), cnn.Dense(64, "silu"), cnn.Dense(1)],
        optimizer=cnn.Adam(learning_rate=cnn.schedules.OneCycle(0.01)), seed=0,
    )  # fmt: skip
    net.fit(Z[:4000], reach[:4000] / scale, epochs=150, batch_size=64, metrics=())
    error = cnn.metrics.rmse(reach[4000:], net.predict(Z[4000:]) * scale)
    print(f"ranges {reach.min():.0f} to {reach.max():.0f} m; RMSE of the network on 500 other throws: {error:.2f} m")

    # Drag and wind are given; speed and angle are sought, by descending (range - wanted)^2 from the middle.
    wanted = np.array([20.0, 40.0, 60.0])
    z = np.array([[0.0, 0.0, -0.5, 0.4]] * len(wanted))
    for _ in range(300):
        missing = net.forward(z) - wanted[:, None] / scale
        slope = net.backward(2 * missing)
        z[:, :2] = np.clip(z[:, :2] - 0.05 * slope[:, :2], -1, 1)
    found = LOW + (z + 1) / 2 * (HIGH - LOW)
    for goal, (speed, angle, _, _), hit in zip(wanted, found, throw(found), strict=True):
        print(f"for {goal:.0f} m: {speed:.1f} m/s at {np.degrees(angle):.1f} degrees; the simulation says {hit:.2f} m")
        assert abs(hit - goal) < 1, "the network's throw misses by more than a metre"


if __name__ == "__main__":
    main()
