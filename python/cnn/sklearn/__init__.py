"""`MLPClassifier` and `MLPRegressor` in place of scikit-learn's (extra `sklearn`)."""
