"""A first network, written twice: in plain NumPy, where every line of the mathematics can be seen, and with `cnn`.

10 inputs, 5 sigmoid units, 1 sigmoid output, squared error, 1,000 epochs of gradient descent on all rows at once. Both
begin with the same weights; their losses agree at every epoch. Run it: python examples/first_network.py
"""

from __future__ import annotations

import numpy as np

import cnn

LEARNING_RATE, EPOCHS = 2.0, 1000

rng = np.random.default_rng(1)
X = rng.normal(size=(100, 10))
y = (X @ rng.normal(size=(10, 1)) > 0).astype(np.float64)

net = cnn.Network(
    [cnn.Dense(5, "sigmoid"), cnn.Dense(1, "sigmoid")],
    loss="mse", optimizer=cnn.SGD(LEARNING_RATE), dtype="float64", seed=1,
).build(n_inputs=10)  # fmt: skip
start = net.get_weights()


# In NumPy -------------------------------------------------------------------------------------------------------------
def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


W1, b1 = start["layers.0.weights"], start["layers.0.biases"]  # (10, 5), (5,)
W2, b2 = start["layers.1.weights"], start["layers.1.biases"]  # (5, 1), (1,)
by_hand = []
for _ in range(EPOCHS):
    a1 = sigmoid(X @ W1 + b1)  # forward: (100, 5)
    a2 = sigmoid(a1 @ W2 + b2)  # (100, 1)
    by_hand.append(np.mean((a2 - y) ** 2))

    d2 = 2 * (a2 - y) / len(X) * a2 * (1 - a2)  # dL/dz2: the loss's slope times the sigmoid's
    d1 = d2 @ W2.T * a1 * (1 - a1)  # dL/dz1: passed down through W2, times the sigmoid's slope

    W2 -= LEARNING_RATE * a1.T @ d2  # theta - alpha * gradient, after both deltas are known
    b2 -= LEARNING_RATE * d2.sum(axis=0)
    W1 -= LEARNING_RATE * X.T @ d1
    b1 -= LEARNING_RATE * d1.sum(axis=0)

# With cnn -------------------------------------------------------------------------------------------------------------
history = net.fit(X, y, epochs=EPOCHS, batch_size=None, metrics=(), verbose=0)

# Side by side ---------------------------------------------------------------------------------------------------------
print("epoch     loss in NumPy       loss in cnn")
for epoch in (0, 9, 99, 499, 999):
    print(f"{epoch + 1:>5}  {by_hand[epoch]:>16.12f}  {history.loss[epoch]:>16.12f}")
difference = np.abs(np.array(by_hand) - history.loss).max()
print(f"largest difference in {EPOCHS:,} epochs: {difference:.1e}")
assert difference < 1e-6, "the two programs disagree"
assert by_hand[-1] < 0.1 * by_hand[0], "the loss did not fall"
assert history.loss[-1] < 0.1 * history.loss[0], "the loss did not fall"
assert max(np.abs(net.layers[0].weights - W1).max(), np.abs(net.layers[1].weights - W2).max()) < 1e-6
