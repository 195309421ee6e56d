"""Gradient descent, watched
=========================

All of training is one line: θ ← θ − α · ∂L/∂θ. Here a network so small that its loss can be drawn whole, one weight
and one bias, walks down that loss. You see what the learning rate α does, check a step by hand, and work out from
the curvature alone the rate at which the walk flies apart. Then the same line draws a curved border between two
classes.

Run it: `python examples/gallery/gradient_descent.py` (a second; pictures go to the current folder)
"""

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import make_moons

import cnn

# %%
# A straight line through noisy points: y = w x + b. The points lie off the origin (1 < x < 3), so w and b pull at
# the same predictions, and the bowl of the loss is a long, narrow valley. Such valleys are what makes training
# slow.
rng = np.random.default_rng(0)
x = rng.uniform(1, 3, size=(60, 1))
y = 1.5 * x[:, 0] - 1 + 0.2 * rng.normal(size=60)


def line(optimizer):
    """A network of one unit that begins at w = -1, b = 2; float64, so that sums by hand agree to all digits."""
    net = cnn.Network([cnn.Dense(1)], loss="mse", optimizer=optimizer, dtype="float64").build(1)
    net.set_weights({"layers.0.weights": [[-1.0]], "layers.0.biases": [2.0]})
    return net


# %%
# One step by hand. The loss is L = mean (w x + b − y)², so ∂L/∂w = mean 2 (w x + b − y) x and ∂L/∂b = mean 2 (w x +
# b − y). One epoch on all rows at once (`batch_size=None`) makes the same step.
off = -1 * x[:, 0] + 2 - y
by_hand = np.array([-1, 2]) - 0.1 * np.array([np.mean(2 * off * x[:, 0]), np.mean(2 * off)])

net = line(cnn.SGD(0.1))
net.fit(x, y, epochs=1, batch_size=None, verbose=0)
print(f"one step by hand: w = {by_hand[0]:.6f}, b = {by_hand[1]:.6f}")
print(f"one step of cnn:  w = {net.layers[0].weights.item():.6f}, b = {net.layers[0].biases.item():.6f}")
assert np.allclose(by_hand, [net.layers[0].weights.item(), net.layers[0].biases.item()], rtol=1e-12)


# %%
# Now many steps. A callback, any function of network, epoch and numbers, notes where we are.
#
# How large may α be? Along the steepest direction of the valley the loss is λ/2 · d², with λ the largest eigenvalue
# of the matrix of second derivatives. A step multiplies the distance d by 1 − α λ: if α > 2/λ, every step ends
# further away than it began. No training run is needed to know that.
def walk(optimizer, epochs=60):
    """The network's (w, b) before the first step and after each, shape (epochs + 1, 2)."""
    net = line(optimizer)
    path = [(-1.0, 2.0)]

    def note(network, epoch, logs):
        path.append((network.layers[0].weights.item(), network.layers[0].biases.item()))

    net.fit(x, y, epochs=epochs, batch_size=None, callbacks=[note], verbose=0)
    return np.array(path)


design = np.column_stack([x, np.ones(60)])
curvature = np.linalg.eigvalsh(2 * design.T @ design / 60)
limit = 2 / curvature.max()
print(f"curvature across the valley {curvature.max():.1f}, along it {curvature.min():.2f}: α must be below {limit:.3f}")

walks = {
    "α = 0.01: too small": walk(cnn.SGD(0.01)),
    f"α = {0.9 * limit:.2f}: near the limit": walk(cnn.SGD(0.9 * limit)),
    f"α = {1.03 * limit:.2f}: beyond it": walk(cnn.SGD(1.03 * limit), epochs=25),
    "α = 0.05 with momentum 0.9": walk(cnn.SGD(0.05, momentum=0.9)),
}
best = np.linalg.lstsq(design, y, rcond=None)[0]
away = {name: np.linalg.norm(path - best, axis=1) for name, path in walks.items()}
for name, distance in away.items():
    print(f"{name:<28} {distance[0]:.2f} away from the best line, after {len(distance) - 1} steps {distance[-1]:.2g}")

small, near, beyond, momentum = away.values()
assert near[-1] < small[-1] < small[0], "below the limit each walk comes nearer"
assert beyond[-1] > beyond[0], "beyond the limit it flies apart"
assert momentum[-1] < near[-1], "momentum is faster along a valley"

# %%
# The same walks on the map of the loss: dark is low, the cross is the best line.
w, b = np.meshgrid(np.linspace(-2, 4.5, 120), np.linspace(-6, 5, 120))
loss = np.mean((w[..., None] * x[:, 0] + b[..., None] - y) ** 2, axis=-1)
figure = Figure(figsize=(10, 7), layout="constrained")
for axes, (name, path) in zip(figure.subplots(2, 2, sharex=True, sharey=True).flat, walks.items(), strict=True):
    axes.contourf(w, b, np.log10(loss), levels=24, cmap="viridis")
    axes.plot(*path.T, "o-", color="white", ms=3, lw=0.9)
    axes.plot(*best, "x", color="#ee6677", ms=11, mew=3)
    axes.set(title=name, xlabel="weight w", ylabel="bias b", xlim=(-2, 4.5), ylim=(-6, 5))
    axes.label_outer()
figure.savefig("gradient_descent_paths.png")

# %%
# With hidden units there is no bowl to draw, but the border between two classes can be watched as it bends. Two
# crescents, 2-16-16-1, the same rule; each panel is the network as the callback found it.
X, crescent = make_moons(400, noise=0.15, random_state=0)
grid = np.stack(np.meshgrid(np.linspace(-1.7, 2.7, 150), np.linspace(-1.2, 1.7, 120)), axis=-1)
seen = {}


def look(network, epoch, logs):
    if epoch + 1 in (1, 10, 40, 100, 200, 400):
        p = network.predict(grid.reshape(-1, 2)).reshape(grid.shape[:2])
        seen[epoch + 1] = p, network.evaluate(X, crescent)["accuracy"]


net = cnn.Network(
    [cnn.Dense(16, "tanh"), cnn.Dense(16, "tanh"), cnn.Dense(1)],
    loss="binary_cross_entropy", optimizer=cnn.SGD(0.1, momentum=0.9), seed=0,
)  # fmt: skip
net.fit(X, crescent, epochs=400, batch_size=None, callbacks=[look], verbose=0)
accuracy = net.evaluate(X, crescent)["accuracy"]
print(f"the border after 400 steps has {accuracy:.1%} of the points on the right side")
assert accuracy > 0.97

figure = Figure(figsize=(10, 5), layout="constrained")
for axes, (epoch, (p, accuracy)) in zip(figure.subplots(2, 3).flat, seen.items(), strict=True):
    axes.contourf(grid[..., 0], grid[..., 1], p, levels=np.linspace(0, 1, 21), cmap="RdBu_r", alpha=0.5)
    axes.contour(grid[..., 0], grid[..., 1], p, levels=[0.5], colors="black", linewidths=1.2)
    axes.scatter(*X.T, c=crescent, s=12, cmap="RdBu_r", edgecolors="white", linewidths=0.4)
    axes.set(title=f"step {epoch}: {accuracy:.1%} right", xticks=[], yticks=[])
figure.savefig("gradient_descent_border.png")
