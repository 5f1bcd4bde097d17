from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Real = TypeVar("Real", np.float32, np.float64)

def sgd(params: NDArray[Real], grads: NDArray[Real], lr: float) -> None: ...
def momentum(
    params: NDArray[Real],
    grads: NDArray[Real],
    velocity: NDArray[Real],
    lr: float,
    momentum: float,
    nesterov: bool,
) -> None: ...
def rmsprop(
    params: NDArray[Real],
    grads: NDArray[Real],
    square: NDArray[Real],
    mean: NDArray[Real] | None,
    velocity: NDArray[Real] | None,
    lr: float,
    rho: float,
    momentum: float,
    epsilon: float,
) -> None: ...
def adam(
    params: NDArray[Real],
    grads: NDArray[Real],
    m: NDArray[Real],
    v: NDArray[Real],
    largest: NDArray[Real] | None,
    alpha: float,
    gamma: float,
    beta1: float,
    beta2: float,
    epsilon: float,
) -> None: ...
def adagrad(
    params: NDArray[Real], grads: NDArray[Real], total: NDArray[Real], lr: float, epsilon: float
) -> None: ...
def adamax(
    params: NDArray[Real],
    grads: NDArray[Real],
    m: NDArray[Real],
    u: NDArray[Real],
    alpha: float,
    beta1: float,
    beta2: float,
    epsilon: float,
) -> None: ...
def adadelta(
    params: NDArray[Real],
    grads: NDArray[Real],
    square: NDArray[Real],
    delta: NDArray[Real],
    lr: float,
    rho: float,
    epsilon: float,
) -> None: ...
def lion(
    params: NDArray[Real],
    grads: NDArray[Real],
    m: NDArray[Real],
    lr: float,
    beta1: float,
    beta2: float,
) -> None: ...
def average(mean: NDArray[Real], params: NDArray[Real], share: float) -> None: ...
def scale(params: NDArray[Real], factor: float) -> None: ...
