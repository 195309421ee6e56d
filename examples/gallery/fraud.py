"""One fraud in two hundred
========================

Call every payment honest and you are right 99.5 % of the time, and have caught nobody. With a class as rare as
fraud, accuracy says nothing; money does. An analyst's look costs 8 dollars, a fraud that is missed costs its
amount. This page learns probabilities that come true, and checks a payment when the expected loss is dearer than
the look: p × amount > 8.

No bank publishes its frauds, so the payments are made here: thieves buy electronics at night, use cards on their
way to the owner, or buy much in a row. Honest people do all of this, too, only rarely at once.

Run it: `python examples/gallery/fraud.py` (some ten seconds; pictures go to the current folder)
"""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import cnn

LOOK = 8.0  # dollars for an analyst's look at one payment

# %%
# 60,000 payments in the order of time, of which one in two hundred is a theft of one of three kinds.
rng = np.random.default_rng(0)
n = 60_000
shops = ["groceries", "electronics", "travel", "restaurant", "games"]
payments = pd.DataFrame({
    "amount": np.exp(rng.normal(3.6, 1.1, n)),
    "hour": np.where(rng.random(n) < 0.9, rng.integers(7, 23, n), rng.integers(0, 24, n)),
    "shop": rng.choice(shops, n, p=[0.4, 0.15, 0.1, 0.3, 0.05]),
    "abroad": rng.random(n) < 0.12,
    "days since card issued": rng.exponential(500, n).round(),
    "payments in last hour": rng.poisson(0.4, n),
})
theft = np.where(rng.random(n) < 0.005, rng.choice(["by night", "new card", "in a row"], n), "none")
for kind, columns in {
    "by night": {"hour": rng.integers(0, 5, n), "shop": rng.choice(["electronics", "games"], n)},
    "new card": {"days since card issued": rng.integers(0, 25, n), "abroad": rng.random(n) < 0.8},
    "in a row": {"payments in last hour": rng.poisson(3, n), "shop": rng.choice(["electronics", "travel"], n)},
}.items():
    for name, values in columns.items():
        payments[name] = np.where(theft == kind, values, payments[name])
    payments["amount"] *= np.where(theft == kind, 3, 1)
payments["amount"] = payments["amount"].round(2)
payments["fraud"] = np.where(theft != "none", "yes", "no")
payments.loc[rng.random(n) < 0.05, "days since card issued"] = None  # the issuer does not say
past, future = payments[:40_000], payments[40_000:]
is_fraud = (future["fraud"] == "yes").to_numpy()
share = np.mean(past["fraud"] == "yes")
print(f"frauds: {share:.2%} of the past payments, {is_fraud.sum()} of the {len(future):,} future ones")

# %%
# The model; the same with rare rows weighed up, as is often advised; and a logistic regression on the same columns.
X = payments.drop(columns="fraud").fillna({"days since card issued": past["days since card issued"].median()})
columns = make_column_transformer(
    (OneHotEncoder(), ["shop", "hour"]), ("passthrough", ["abroad"]),
    (StandardScaler(), ["amount", "days since card issued", "payments in last hour"]),
)  # fmt: skip
linear = make_pipeline(columns, LogisticRegression(max_iter=500)).fit(X[:40_000], past["fraud"])
model = cnn.TableModel("fraud", effort="fast", seed=0).fit(past, verbose=0)
weighed = cnn.TableModel("fraud", effort="fast", class_weight="balanced", seed=0).fit(past, verbose=0)
p = {
    "the network": model.predict_proba(future)[:, 1],
    "classes weighed": weighed.predict_proba(future)[:, 1],
    "logistic regression": linear.predict_proba(X[40_000:])[:, 1],
}
precision = {name: average_precision_score(is_fraud, found) for name, found in p.items()}

# %%
# Two questions. Does p sort the payments well (average precision: the mean share of frauds among the payments down
# to each fraud)? And does it come true: how many of the 1,000 riskiest payments should be fraud by p, and how many
# were?
for name, found in p.items():
    top = found.argsort()[-1000:]
    expected, were = found[top].sum(), is_fraud[top].sum()
    print(f"{name:<20} average precision {precision[name]:.2f}; {expected:.0f} frauds expected, {were} found")
assert precision["the network"] > 1.5 * precision["logistic regression"], "a sum can't tell combinations"
assert p["classes weighed"].sum() > 3 * is_fraud.sum(), "weighed probabilities are far too large"
assert 0.7 * is_fraud.sum() < p["the network"].sum() < 1.3 * is_fraud.sum()

# %%
# Now money. The rule p × amount > 8 is no choice of ours, it follows from the costs. Beside it: no checks at all,
# checking every large payment (above what was best in the past), and a second sight that knows each fraud
# beforehand.
amount = future["amount"].to_numpy()


def cost(checked, fraud=is_fraud, amounts=amount):
    """Dollars: a look for each payment that is checked, the amount of each fraud that is not."""
    return LOOK * checked.sum() + amounts[fraud & ~checked].sum()


was_fraud, was_amount = (past["fraud"] == "yes").to_numpy(), past["amount"].to_numpy()
large = min(np.geomspace(20, 2000, 60), key=lambda limit: cost(was_amount > limit, was_fraud, was_amount))
rules = {"check nothing": np.zeros(len(future), bool), "check large payments": amount > large}
rules |= {name: found * amount > LOOK for name, found in p.items()}
rules["second sight"] = is_fraud & (amount > LOOK)
costs = {name: cost(checked) for name, checked in rules.items()}
for name, checked in rules.items():
    caught = amount[is_fraud & checked].sum() / amount[is_fraud].sum()
    print(f"{name:<20} costs ${costs[name]:>7,.0f}: {checked.sum():>5,} looks, {caught:.0%} of the stolen money saved")
assert costs["the network"] < 0.7 * costs["logistic regression"] < 0.7 * costs["check large payments"]
assert costs["the network"] < costs["classes weighed"]

# %%
# What if a look were worth it from another expected loss on? The cost of each limit shows that 8 dollars, taken
# from the costs alone, stands at the bottom for probabilities that come true, and is wrong for those that do not.
figure = Figure(figsize=(8, 4.2), layout="constrained")
axes = figure.subplots()
limits = np.geomspace(0.3, 2000, 200)
for (name, found), colour in zip(p.items(), ("#4477aa", "#ccbb44", "#ee6677"), strict=True):
    axes.plot(limits, [cost(found * amount > limit) for limit in limits], color=colour, label=name)
axes.axvline(LOOK, color="black", ls=":", label="what a look costs")
axes.set(xscale="log", xlabel="a payment is checked if p × amount is above (dollars)")
axes.set(ylabel="looks and losses (dollars)", ylim=(0, 1.5 * costs["check nothing"]))
axes.xaxis.set_major_formatter("{x:g}")
axes.legend(frameon=False)
figure.savefig("fraud.png")
