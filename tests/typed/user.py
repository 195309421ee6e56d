"""A user's program, for type checkers alone: .ci/run checks it, strictly, against the installed package."""

from __future__ import annotations

from typing import assert_type

import numpy as np

import cnn

X = np.zeros((8, 2), np.float32)
y = X[:, 0]

net = cnn.Network(
    [cnn.Dense(4, "relu"), cnn.Dropout(0.1), cnn.Dense(1, cnn.Activation("elu", alpha=0.5))],
    loss=cnn.Huber(delta=1.0), optimizer=cnn.AdamW(cnn.schedules.OneCycle(0.01), weight_decay=1e-4), seed=0,
)  # fmt: skip
history = net.fit(X, y, epochs=2, validation_split=0.25, verbose=0, callbacks=[cnn.EarlyStopping(patience=3)])
assert_type(history, cnn.History)
losses: list[float] = history.loss
scores = net.evaluate(X, y, metrics=("r2",))
assert_type(scores, dict[str, float])
loss, gradients = net.loss_and_gradient(X, y)
assert_type(loss, float)
net.update(gradients, learning_rate=0.1)
name: str = "relu"  # of a configuration
layers = [cnn.Dense(2, cnn.Activation(name)), cnn.Dense(1)]
net = cnn.Network(layers, cnn.Loss("mse"), cnn.optimizers.get("adam"), "float64")
net.fit(X, y, metrics=["rmse", cnn.metrics.mae], callbacks=[lambda network, epoch, logs: None])
net.save("m.cnn")
assert_type(cnn.load("m.cnn", cnn.Network), cnn.Network)
prediction = cnn.load("m.cnn").predict(X)

classifier = cnn.MLPClassifier(hidden_layer_sizes=(3,), max_iter=2)
classes = classifier.fit(X, y > 0).predict(X)
probabilities = classifier.predict_proba(X)
regressor = cnn.MLPRegressor(hidden_layer_sizes=(3,), max_iter=2).fit(X, y)
model = cnn.TableModel("y", members=1).fit({"a": X[:, 0], "y": y}, verbose=0)
assert_type(model, cnn.TableModel)
importance = model.feature_importance({"a": X[:, 0], "y": y})

# What a checker must refuse; an "unused ignore" says that it does not.
cnn.Dens(3)  # type: ignore[attr-defined]
cnn.Adam(lr=0.1)  # type: ignore[call-arg]
net.fit(X, y, epoch=3)  # type: ignore[call-arg]
net.compile()  # type: ignore[attr-defined]
cnn.Network([cnn.Dense(1)], seed="0")  # type: ignore[arg-type]
cnn.Dense(3, "rleu")  # type: ignore[arg-type]
cnn.Dense(3, initializer="he_norml")  # type: ignore[arg-type]
cnn.Network([cnn.Dense(1)], loss="msee")  # type: ignore[arg-type]
cnn.Network([cnn.Dense(1)], optimizer="adm")  # type: ignore[arg-type]
cnn.Network([cnn.Dense(1)], dtype="float16")  # type: ignore[arg-type]
net.fit(X, y, metrics=["acuracy"])  # type: ignore[list-item]
net.fit(X, y, callbacks=[3])  # type: ignore[list-item]
cnn.EarlyStopping(mode="maximum")  # type: ignore[arg-type]
cnn.Checkpoint("run", unit="epoch")  # type: ignore[arg-type]
cnn.TableModel("y", task="regresion")  # type: ignore[arg-type]
cnn.MLPClassifier(solver="adm")  # type: ignore[arg-type]
cnn.MLPRegressor(activation=["relu", "rleu"])  # type: ignore[list-item]
cnn.MLPRegressor(max_iters=3)  # type: ignore[call-arg]
