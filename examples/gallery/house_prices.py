"""What is a house worth?
======================

A CSV file with numbers, a column of text and gaps, and the question of every valuer: what price, give or take what?
One `TableModel` answers in dollars, with an interval that holds nine prices in ten, and says for each house what
made it dear. The table is California's census of 1990: 20,640 neighbourhoods, the target the median value of a
house there.

Run it: `python examples/gallery/house_prices.py` (some ten seconds; pictures go to the current folder)
"""

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import cnn

DATA = Path(__file__).resolve().parents[1] / "data"
PRICE = "median_house_value"

# %%
# The table as it comes. One row in five is put aside before anything else is looked at: no choice below sees it.
houses = pd.read_csv(DATA / "california_housing.csv.bz2").sample(frac=1, random_state=0)
known, unseen = houses[:16_512], houses[16_512:]
print(f"{len(known):,} neighbourhoods to learn from, {len(unseen):,} to test on")
print("cells that are missing:", {name: n for name, n in houses.isna().sum().items() if n})

# %%
# The fit. Text, gaps and scales are the model's own business; it says what it made of each column. `effort="fast"`
# keeps this page quick; leave it out for more networks and a smaller error.
model = cnn.TableModel(PRICE, effort="fast", seed=0).fit(known, verbose=0)
print(*model.notes, sep="\n")

# %%
# How far off, in dollars? A number alone says little, so beside the model stand the same price for every house, a
# straight line through all columns, and what is hard to beat on tables: gradient-boosted trees, as scikit-learn has
# them.
numbers = [name for name in houses if name not in (PRICE, "ocean_proximity")]
columns = make_column_transformer((OneHotEncoder(), ["ocean_proximity"]), (SimpleImputer(), numbers))
line = make_pipeline(columns, LinearRegression()).fit(known, known[PRICE])
trees = make_pipeline(columns, HistGradientBoostingRegressor(random_state=0)).fit(known, known[PRICE])
answers = {
    "the median of all": np.full(len(unseen), known[PRICE].median()),
    "a straight line": line.predict(unseen),
    "boosted trees": trees.predict(unseen),
    "the model": model.predict(unseen),
}
error = {name: np.abs(answer - unseen[PRICE]).mean() for name, answer in answers.items()}
for name, dollars in error.items():
    print(f"{name:<18} is off by ${dollars:,.0f} on average")
assert error["the model"] < error["boosted trees"] < 0.7 * error["a straight line"] < error["the median of all"]

# %%
# The census wrote 500,001 dollars for every dearer neighbourhood, which is the column of points at the right.
cnn.plots.predicted_against_true(unseen[PRICE], answers["the model"], "price").savefig("house_prices.png")

# %%
# Give or take what? The interval is learnt from rows that a network did not train on, so it can be held to its word
# on the unseen ones. Cheap neighbourhoods get narrow ones, dear ones wide ones.
low, high = model.predict_interval(unseen, coverage=0.9).T
held = np.mean((low <= unseen[PRICE]) & (unseen[PRICE] <= high))
print(f"the intervals of 90 % hold {held:.1%} of the unseen prices")
by_price = answers["the model"].argsort()
for name, rows in {"cheapest": by_price[:400], "dearest": by_price[-400:]}.items():
    print(f"the 400 {name} are known to within ± ${np.mean(high[rows] - low[rows]) / 2:,.0f}")
assert 0.88 < held < 0.92

# %%
# What made this one dear? The shares add up from the mean prediction to the one of this house (expected gradients).
house = unseen.iloc[by_price[-100:-99]]
shares = cnn.explain.expected_gradients(model, house, known)
assert abs(shares.gap.item()) < 0.1 * shares.predictions.item()
cnn.plots.attribution(shares).savefig("house_prices_one.png")

# %%
# One file holds networks, columns and intervals; in another program, or on the command line (`cnn predict`), it
# answers with the same bits.
model.save("house_prices.cnn")
assert np.array_equal(cnn.load("house_prices.cnn").predict(unseen), answers["the model"])
print(f"saved: {Path('house_prices.cnn').stat().st_size / 1000:,.0f} kB")
