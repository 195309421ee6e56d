"""Derives the coefficients in cnn_core/vecmath.pxd: `python tools/fit_polynomials.py` (needs mpmath, takes a minute).

Each function is fitted by p / q, the best in the sense of the largest weighted error (Remez' exchange algorithm, in 80
digits), and printed as the Horner lines that stand in vecmath.pxd, with the error left in units of 2^-24 or 2^-53.
"""
from __future__ import annotations

import struct
from collections.abc import Callable

import mpmath as mp

mp.mp.dps = 80
Function = Callable[[mp.mpf], mp.mpf]


def evaluate(coefficients: list[mp.mpf], x: mp.mpf) -> mp.mpf:
    """The polynomial with these coefficients, lowest first."""
    return mp.polyval(coefficients[::-1], x)


def solve(f: Function, weight: Function, points: list[mp.mpf], n_p: int, n_q: int) -> tuple[list[mp.mpf], list[mp.mpf]]:
    """p, q (q(0) = 1) whose weighted error has one size and alternating sign at the points."""
    error = mp.mpf(0)
    values, scales = [f(x) for x in points], [1 / weight(x) for x in points]
    for _ in range(12):
        rows, right = [], []
        for i, x in enumerate(points):
            sign = -1 if i % 2 else 1
            bent = values[i] - sign * error * scales[i]  # the product of E and q, linearised about the last E
            rows.append([x**k for k in range(n_p)] + [-bent * x**k for k in range(1, n_q)] + [sign * scales[i]])
            right.append(values[i])
        solution = list(mp.lu_solve(mp.matrix(rows), mp.matrix(right)))
        last, error = error, solution[-1]
        if n_q == 1 or abs(error - last) < abs(error) * mp.mpf("1e-12"):
            break
    return solution[:n_p], [mp.mpf(1), *solution[n_p:-1]]


def least_squares(exact: list[mp.mpf], scale: list[mp.mpf], grid: list[mp.mpf], n_p: int,
                  n_q: int) -> tuple[list[mp.mpf], list[mp.mpf]]:
    """p, q of small squared weighted error (Sanathanan & Koerner's iteration): where the exchange starts from."""
    q = [mp.mpf(1)]
    n = n_p + n_q - 1
    for _ in range(6 if n_q > 1 else 1):
        normal, right = mp.zeros(n, n), mp.zeros(n, 1)
        for x, y, w in zip(grid, exact, scale, strict=True):
            w = (w / evaluate(q, x)) ** 2
            row = [x**k for k in range(n_p)] + [-y * x**k for k in range(1, n_q)]
            for i in range(n):
                right[i] += w * row[i] * y
                for j in range(i + 1):
                    normal[i, j] += w * row[i] * row[j]
        for i in range(n):
            for j in range(i):
                normal[j, i] = normal[i, j]
        solution = list(mp.lu_solve(normal, right))
        q = [mp.mpf(1), *solution[n_p:]]
    return solution[:n_p], q


def fit(f: Function, weight: Function, low: float, high: float, n_p: int, n_q: int = 1,
        stretch: int = 1) -> tuple[list[mp.mpf], list[mp.mpf], mp.mpf]:
    """Best p / q with n_p and n_q coefficients, and its largest weighted error. `stretch` crowds points towards low."""
    low, high = mp.mpf(low), mp.mpf(high)
    n = n_p + n_q
    grid = [low + (high - low) * ((1 - mp.cos(mp.pi * i / (20 * n))) / 2) ** stretch for i in range(20 * n + 1)]
    exact, scale = [f(x) for x in grid], [weight(x) for x in grid]
    p, q = least_squares(exact, scale, grid, n_p, n_q)
    best = p, q, mp.inf
    for _ in range(30):
        errors = [(evaluate(p, x) / evaluate(q, x) - y) * w for x, y, w in zip(grid, exact, scale, strict=True)]
        worst = max(abs(e) for e in errors)
        if worst < best[2]:
            best = p, q, worst
        extremes: list[int] = []
        for i, e in enumerate(errors):
            if extremes and e * errors[extremes[-1]] > 0:
                if abs(e) > abs(errors[extremes[-1]]):
                    extremes[-1] = i
            else:
                extremes.append(i)
        while len(extremes) > n:  # the smaller end goes
            extremes.pop(0 if abs(errors[extremes[0]]) < abs(errors[extremes[-1]]) else -1)
        if len(extremes) < n or worst < min(abs(errors[i]) for i in extremes) * mp.mpf("1.02"):
            break
        p, q = solve(f, weight, [grid[i] for i in extremes], n_p, n_q)
    return best


def show(name: str, coefficients: list[mp.mpf], variable: str, is_float: bool) -> None:
    """The Horner lines."""
    for i, c in enumerate(reversed(coefficients)):
        text = f"{struct.unpack('f', struct.pack('f', float(c)))[0]:.9g}" if is_float else repr(float(c))
        print(f"        {name} = <real>{text}" if i == 0 else f"        {name} = {name} * {variable} + <real>{text}")


def exp_tail(r: mp.mpf) -> mp.mpf:
    """(e^r - 1 - r) / r^2."""
    return (mp.expm1(r) - r) / r**2 if abs(r) > mp.mpf("1e-15") else mp.mpf("0.5") + r / 6


def exp2_rest(f: mp.mpf) -> mp.mpf:
    """(2^f - 1) / f."""
    return mp.expm1(f * mp.log(2)) / f if abs(f) > mp.mpf("1e-15") else mp.log(2)


def sine_ratio(z: mp.mpf) -> mp.mpf:
    """sin(2 pi y) / y for y^2 = z."""
    return mp.sin(2 * mp.pi * mp.sqrt(z)) / mp.sqrt(z) if z > mp.mpf("1e-30") else 2 * mp.pi


def inverse_tail(a: mp.mpf) -> mp.mpf:
    """D(a) = exp(-a^2/2) / Phi(-a)."""
    return 2 * mp.exp(-a * a / 2) / mp.erfc(a / mp.sqrt(2))


def tail_rest(a: mp.mpf) -> mp.mpf:
    """(2 + sqrt(2 pi) a - D(a)) / a, which is never more than a fifth of D(a) / a."""
    root = mp.sqrt(2 * mp.pi)
    return (2 + root * a - inverse_tail(a)) / a if a > mp.mpf("1e-20") else root - 4 / root


def main() -> None:
    """Prints every fit. Errors of exp are relative to r, for expm1; those of the tail to D(a)."""
    half_log2 = 0.3475
    for is_float, n_exp, n_tail, last in ((True, 5, 4, 15.0), (False, 10, 10, 39.0)):
        unit = mp.mpf(2) ** (-24 if is_float else -53)
        print("float" if is_float else "double")
        p, _, error = fit(exp_tail, lambda r: max(abs(r), mp.mpf("0.02")), -half_log2, half_log2, n_exp)
        print(f"    exp_series: q, error {mp.nstr(error / unit, 3)}")
        show("q", p, "r", is_float)
        if is_float:
            p, _, error = fit(exp2_rest, lambda f: 1 / exp2_rest(f), -0.5, 0.5, 6)
            print(f"    exp2_less_1: q, error {mp.nstr(error / unit, 3)}")
            show("q", p, "f", is_float)
        p, _, error = fit(sine_ratio, lambda z: 1 / sine_ratio(z), 0, 0.0625, 6 if is_float else 9)
        print(f"    sine_of_quarter: q, error {mp.nstr(error / unit, 3)}")
        show("q", p, "z", is_float)
        p, q, error = fit(tail_rest, lambda a: a / inverse_tail(a) + mp.mpf("1e-6"), 0, last, n_tail, n_tail + 1, 2)
        print(f"    tail_divisor: p and q, error {mp.nstr(error / unit, 3)}")
        show("p", p, "a", is_float)
        show("q", q, "a", is_float)


if __name__ == "__main__":
    main()
