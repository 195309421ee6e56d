"""Optimizers: each one flat loop over a range of the parameter arena.

theta is a parameter, g its gradient, a the learning rate, t the step, counted from 1. The formulas are those of
PyTorch's `torch.optim`, with its places for epsilon. The old theta is left in g. To add one: its name, its number of
slots, its loop, and the same in tests/reference.py and python/cnn/optimizers.py.
"""
from libc.math cimport pow, sqrt, sqrtf
from libc.stdint cimport int64_t

from cnn_core.types cimport OptimizerSpec, real
from cnn_core.vecmath cimport loop


cpdef enum Optimizer:
    SGD
    RMSPROP
    ADAGRAD
    ADADELTA
    ADAM
    NADAM
    LION


# The numbers of one step, the same for all parameters.
cdef struct OptimizerStep:
    double rate
    double decay            # factor on the weight decay
    double correction_1     # adam, nadam: 1 - beta_1^t
    double correction_2     # adam, nadam: 1 - beta_2^t
    double ahead            # nadam: share of the momentum, mu_(t+1) / (1 - product up to t + 1)
    double now              # nadam: share of the gradient, (1 - mu_t) / (1 - product up to t)


cdef inline int optimizer_slots(const OptimizerSpec* spec) noexcept nogil:
    """How many numbers are kept for each parameter."""
    if spec.kind == SGD:
        return 1 if spec.momentum != 0 else 0
    if spec.kind == RMSPROP:
        return 2 if spec.momentum != 0 else 1
    if spec.kind == ADAGRAD or spec.kind == LION:
        return 1
    if spec.kind == ADAM:
        return 3 if spec.amsgrad else 2
    return 2


cdef inline OptimizerStep optimizer_begin(const OptimizerSpec* spec, int64_t step, double rate,
                                          double* scalars) noexcept nogil:
    """What step `step` (from 1) at learning rate `rate` needs; scalars (4,) are kept between the steps."""
    cdef OptimizerStep now
    cdef double mu, mu_next
    now.rate, now.decay = rate, 1
    now.correction_1, now.correction_2 = 1 - pow(spec.beta_1, step), 1 - pow(spec.beta_2, step)
    now.ahead, now.now = 0, 0
    if spec.kind == NADAM:
        if step == 1:
            scalars[0] = 1
        mu = spec.beta_1 * (1 - 0.5 * pow(0.96, step * 0.004))
        mu_next = spec.beta_1 * (1 - 0.5 * pow(0.96, (step + 1) * 0.004))
        scalars[0] *= mu
        now.now = (1 - mu) / (1 - scalars[0])
        now.ahead = mu_next / (1 - scalars[0] * mu_next)
    return now


cdef inline real root(real x) noexcept nogil:
    return sqrtf(x) if real is float else sqrt(x)


cdef inline void move(real* theta, real* g, real to) noexcept nogil:
    """The new parameter; the old one takes its gradient's place, so that a step can be taken back."""
    g[0] = theta[0]
    theta[0] = to


# v = mu v + g; theta -= a v, or a (g + mu v) for Nesterov (Sutskever et al. 2013)
cdef inline loop sgd(const OptimizerSpec* spec, real a, real keep, real decay, real* theta, real* g, real* v,
                     Py_ssize_t n) noexcept nogil:
    cdef real mu = <real>spec.momentum, d
    cdef Py_ssize_t i
    if spec.momentum == 0:
        for i in range(n):
            move(theta + i, g + i, keep * theta[i] - a * (g[i] + decay * theta[i]))
    elif spec.nesterov:
        for i in range(n):
            d = g[i] + decay * theta[i]
            v[i] = mu * v[i] + d
            move(theta + i, g + i, keep * theta[i] - a * (d + mu * v[i]))
    else:
        for i in range(n):
            v[i] = mu * v[i] + (g[i] + decay * theta[i])
            move(theta + i, g + i, keep * theta[i] - a * v[i])


# v = rho v + (1 - rho) g^2; theta -= a g / (sqrt v + epsilon), with momentum on the quotient (Tieleman & Hinton 2012)
cdef inline loop rmsprop(const OptimizerSpec* spec, real a, real keep, real decay, real* theta, real* g, real* v,
                         real* m, Py_ssize_t n) noexcept nogil:
    cdef real rho = <real>spec.rho, rest = <real>(1 - spec.rho), epsilon = <real>spec.epsilon, d
    cdef real mu = <real>spec.momentum
    cdef Py_ssize_t i
    if spec.momentum == 0:
        for i in range(n):
            d = g[i] + decay * theta[i]
            v[i] = rho * v[i] + rest * d * d
            move(theta + i, g + i, keep * theta[i] - a * d / (root(v[i]) + epsilon))
    else:
        for i in range(n):
            d = g[i] + decay * theta[i]
            v[i] = rho * v[i] + rest * d * d
            m[i] = mu * m[i] + d / (root(v[i]) + epsilon)
            move(theta + i, g + i, keep * theta[i] - a * m[i])


# v += g^2; theta -= a g / (sqrt v + epsilon) (Duchi et al. 2011)
cdef inline loop adagrad(const OptimizerSpec* spec, real a, real keep, real decay, real* theta, real* g, real* v,
                         Py_ssize_t n) noexcept nogil:
    cdef real epsilon = <real>spec.epsilon, d
    cdef Py_ssize_t i
    for i in range(n):
        d = g[i] + decay * theta[i]
        v[i] += d * d
        move(theta + i, g + i, keep * theta[i] - a * d / (root(v[i]) + epsilon))


# v = rho v + (1 - rho) g^2; d = g sqrt(u + epsilon) / sqrt(v + epsilon); u = rho u + (1 - rho) d^2; theta -= a d
# (Zeiler 2012)
cdef inline loop adadelta(const OptimizerSpec* spec, real a, real keep, real decay, real* theta, real* g, real* v,
                          real* u, Py_ssize_t n) noexcept nogil:
    cdef real rho = <real>spec.rho, rest = <real>(1 - spec.rho), epsilon = <real>spec.epsilon, d
    cdef Py_ssize_t i
    for i in range(n):
        d = g[i] + decay * theta[i]
        v[i] = rho * v[i] + rest * d * d
        d *= root(u[i] + epsilon) / root(v[i] + epsilon)
        u[i] = rho * u[i] + rest * d * d
        move(theta + i, g + i, keep * theta[i] - a * d)


# m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; theta -= a m^ / (sqrt v^ + epsilon), ^ divided by 1 - b^t
# (Kingma & Ba 2015), or + epsilon^ before v is divided, their form for speed; AdamW is its decoupled decay (Loshchilov
# & Hutter 2019); amsgrad keeps the largest v (Reddi 2018)
cdef inline loop adam(const OptimizerSpec* spec, const OptimizerStep* now, real a, real keep, real decay, real* theta,
                      real* g, real* m, real* v, real* top, Py_ssize_t n) noexcept nogil:
    cdef real b1 = <real>spec.beta_1, c1 = <real>(1 - spec.beta_1), b2 = <real>spec.beta_2, c2 = <real>(1 - spec.beta_2)
    cdef double root_2 = sqrt(now.correction_2)
    cdef real epsilon = <real>(spec.epsilon / root_2 if spec.epsilon_hat else spec.epsilon)
    cdef real scale = <real>(1 / root_2), d
    cdef Py_ssize_t i
    a = <real>(a / now.correction_1)
    if spec.amsgrad:
        for i in range(n):
            d = g[i] + decay * theta[i]
            m[i] = b1 * m[i] + c1 * d
            v[i] = b2 * v[i] + c2 * d * d
            top[i] = v[i] if v[i] > top[i] else top[i]
            move(theta + i, g + i, keep * theta[i] - a * m[i] / (root(top[i]) * scale + epsilon))
    else:
        for i in range(n):
            d = g[i] + decay * theta[i]
            m[i] = b1 * m[i] + c1 * d
            v[i] = b2 * v[i] + c2 * d * d
            move(theta + i, g + i, keep * theta[i] - a * m[i] / (root(v[i]) * scale + epsilon))


# as Adam, with m^ = ahead m + now g: the momentum of the next step (Dozat 2016)
cdef inline loop nadam(const OptimizerSpec* spec, const OptimizerStep* now, real a, real keep, real decay, real* theta,
                       real* g, real* m, real* v, Py_ssize_t n) noexcept nogil:
    cdef real b1 = <real>spec.beta_1, c1 = <real>(1 - spec.beta_1), b2 = <real>spec.beta_2, c2 = <real>(1 - spec.beta_2)
    cdef real epsilon = <real>spec.epsilon, scale = <real>(1 / sqrt(now.correction_2)), d
    cdef real ahead = <real>now.ahead, present = <real>now.now
    cdef Py_ssize_t i
    for i in range(n):
        d = g[i] + decay * theta[i]
        m[i] = b1 * m[i] + c1 * d
        v[i] = b2 * v[i] + c2 * d * d
        move(theta + i, g + i, keep * theta[i] - a * (ahead * m[i] + present * d) / (root(v[i]) * scale + epsilon))


# theta -= a sign(b1 m + (1 - b1) g); m = b2 m + (1 - b2) g (Chen et al. 2023)
cdef inline loop lion(const OptimizerSpec* spec, real a, real keep, real decay, real* theta, real* g, real* m,
                      Py_ssize_t n) noexcept nogil:
    cdef real b1 = <real>spec.beta_1, c1 = <real>(1 - spec.beta_1), b2 = <real>spec.beta_2, c2 = <real>(1 - spec.beta_2)
    cdef real d, u
    cdef Py_ssize_t i
    for i in range(n):
        d = g[i] + decay * theta[i]
        u = b1 * m[i] + c1 * d
        move(theta + i, g + i, keep * theta[i] - (a if u > 0 else (-a if u < 0 else <real>0)))
        m[i] = b2 * m[i] + c2 * d


cdef inline void optimizer_update(const OptimizerSpec* spec, const OptimizerStep* now, double rate_factor,
                                  double decay_factor, real* theta, real* g, real* state, Py_ssize_t stride,
                                  Py_ssize_t n) noexcept nogil:
    """One step on theta (n,); slot j of element i stands at state[j * stride + i]. The old theta is left in g.

    The factors are the parameter group's own, on the learning rate and on the weight decay.
    """
    cdef double rate = now.rate * rate_factor, strength = spec.weight_decay * decay_factor * now.decay
    cdef real a = <real>rate
    cdef real keep = <real>(1 - rate * strength) if spec.decoupled else <real>1
    cdef real decay = <real>0 if spec.decoupled else <real>strength
    cdef real* second = state + stride
    if spec.kind == SGD:
        sgd(spec, a, keep, decay, theta, g, state, n)
    elif spec.kind == RMSPROP:
        rmsprop(spec, a, keep, decay, theta, g, state, second, n)
    elif spec.kind == ADAGRAD:
        adagrad(spec, a, keep, decay, theta, g, state, n)
    elif spec.kind == ADADELTA:
        adadelta(spec, a, keep, decay, theta, g, state, second, n)
    elif spec.kind == ADAM:
        adam(spec, now, a, keep, decay, theta, g, state, second, state + 2 * stride, n)
    elif spec.kind == NADAM:
        nadam(spec, now, a, keep, decay, theta, g, state, second, n)
    elif spec.kind == LION:
        lion(spec, a, keep, decay, theta, g, state, n)
