"""Derives the coefficients of `v_mills` in cnn_core/vecmath.pxd: python tools/fit_polynomials.py (needs mpmath).

The normal tail is Phi(-a) = exp(-a^2/2) G(a). G is smooth in t = (a - K) / (a + K), which maps [0, inf) to [-1, 1):
a Chebyshev interpolation there, written out in powers of t. All other series in vecmath.pxd are Taylor's.
"""
from __future__ import annotations

import mpmath as mp

mp.mp.dps = 60
K = mp.mpf(4)


def scaled_tail(a: mp.mpf) -> mp.mpf:
    """G(a) = Phi(-a) exp(a^2/2)."""
    return mp.erfc(a / mp.sqrt(2)) * mp.exp(a * a / 2) / 2


def fit(degree: int, last: float) -> tuple[list[mp.mpf], mp.mpf]:
    """Coefficients, lowest first, over a in [0, last], and the largest relative error."""
    low, high = mp.mpf(-1), (mp.mpf(last) - K) / (mp.mpf(last) + K)

    def of_t(t: mp.mpf) -> mp.mpf:
        return scaled_tail(K * (1 + t) / (1 - t))

    # chebyfit gives the interpolation in powers of t, highest first.
    coefficients = mp.chebyfit(of_t, [low, high], degree + 1)
    points = [low + (high - low) * i / 997 for i in range(998)]
    error = max(abs(mp.polyval(coefficients, t) / of_t(t) - 1) for t in points)
    return coefficients[::-1], error


if __name__ == "__main__":
    for name, degree, last, digits in (("float", 11, 15.0, 10), ("double", 26, 40.0, 19)):
        coefficients, error = fit(degree, last)
        print(f"{name}: degree {degree}, relative error {mp.nstr(error, 3)}")
        for c in coefficients:
            print("   ", mp.nstr(c, digits))
