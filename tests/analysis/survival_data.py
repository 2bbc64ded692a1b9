"""Published data, and trials made by formula, that the tests of survival analysis share."""

from __future__ import annotations

import numpy as np

from grokray.analysis.design import Design
from grokray.analysis.times import Times

# Freireich, E. J., et al. (1963). Blood 21, 699-716: weeks of remission of leukaemia, with 6-mercaptopurine
# or placebo.
TREATED = Times.right_censored(
    [6, 6, 6, 7, 10, 13, 16, 22, 23, 6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35], [True] * 9 + [False] * 12
)
PLACEBO = Times.right_censored([1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23], [True] * 21)
BOTH = Times.of(np.append(TREATED.lower, PLACEBO.lower), np.append(TREATED.upper, PLACEBO.upper))
IS_PLACEBO = np.repeat([0.0, 1.0], 21)

# Finkelstein, D. M., and Wolfe, R. A. (1985). Biometrics 41, 933-945: months until cosmetic deterioration after
# radiotherapy alone.
_DETERIORATED = (
    *((6, 10), (0, 7), (7, 16), (7, 14), (37, 44), (0, 8), (4, 11), (11, 15), (25, 37), (26, 40), (27, 34), (36, 44)),
    *((36, 48), (17, 25), (11, 18), (5, 12), (0, 5), (5, 11), (19, 35), (17, 25), (19, 26)),
)
_NOT_UNTIL = (45, 46, 46, 17, 15, 22, 46, 46, 46, 46, 46, 37, 40, 46, 38, 37, 18, 24, 36, 24, 32, 33, 37, 34, 36)
RADIOTHERAPY = Times.of(
    [low for low, _ in _DETERIORATED] + list(_NOT_UNTIL), [high for _, high in _DETERIORATED] + [np.inf] * 25
)


def formula_trials() -> tuple[Times, Design]:
    """60 trials on a grid of 25 steps up to 600, with weights 1 to 4 and clusters of 3."""
    number = np.arange(60)
    x, group = (number % 7) / 3.0, (number % 2).astype(float)
    time = np.exp(5 + 0.8 * x - 0.5 * group + 0.9 * np.sin(1.7 * number + 0.3))
    upper = np.ceil(time / 25) * 25
    censored = upper > 600
    lower, upper = np.where(censored, 600, upper - 25), np.where(censored, np.inf, upper)
    return Times.of(lower, upper, 1.0 + number % 4, number // 3), Design.of(x=x, g=group)


def random_trials(generator: np.random.Generator, size: int = 40) -> Times:
    """With ties, right-censored, weighted and in clusters."""
    time = generator.integers(1, 12, size).astype(float)
    event = generator.random(size) < 0.6
    weight, cluster = generator.choice([1.0, 2.5, 7.0], size), generator.integers(0, size // 2, size)
    return Times.right_censored(time, event, weight, cluster)
