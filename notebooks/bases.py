# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Does it matter how numbers are written?
#
# The answer as one token (*classification*), or as digits in some base (*sequence*). Which pairs are trained on
# depends on the seed and the fraction alone, so trials of different bases can be compared on the same pairs. The
# sweep that comes with the notebooks has classification and bases 4 and 10, of x+y modulo 31, and few trials of each:
# where they cannot decide, the cells below say so.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import display

import grokray
from grokray.analysis.comparison import REPRESENTATION, compare, representations
from grokray.analysis.figures.style import STYLE
from grokray.analysis.outcomes import outcomes

plt.rcParams.update(STYLE)  # the look of the figures that grokray draws, for those drawn here

FOLDER = "sweep"
analysis = grokray.load(FOLDER)
trials = analysis.sweeps.trials
level = representations(trials)  # "classification", "base 4", "base 10", … of each trial

# %% [markdown]
# ## What there is to compare
#
# Of the trials that were not pruned, how many there are of each, and how many grokked. A pruned trial was stopped
# because it was behind, and counts for nothing; the *audited* ones, that ran on by lot, stand for these with a weight
# above 1. The *effective* number is that of equal trials that would be as certain: (Σw)² / Σw².

# %%
found = outcomes(trials)
weighted = pd.DataFrame(
    {"written": level, "weight": found.weight, "grokked": found.grokked, "configuration": found.configuration}
)
weighted = weighted[weighted["weight"] > 0]
weighted.groupby("written").agg(
    trials=("weight", "size"),
    configurations=("configuration", "nunique"),
    grokked=("grokked", "sum"),
    effective=("weight", lambda weight: weight.sum() ** 2 / (weight**2).sum()),
).round(1)

# %% [markdown]
# ## When they grok
#
# Kaplan and Meier's share grokked by a step, with the audited trials weighed for the pruned ones.

# %%
_ = analysis.plot_survival("task_type")

# %%
_ = analysis.plot_survival("base")

# %% [markdown]
# The tests ask whether the curves differ; those of single pairs have their p-values adjusted for how many there are
# (Holm).

# %%
analysis.survival("base")

# %% [markdown]
# ## Against classification
#
# Where a sweep has them, as a grid does, trials are *matched*: both agree in all else and in their seeds, so they see
# the same pairs. A Sobol sweep gives every configuration values of its own, so nothing matches; then the difference
# is *adjusted* for all other parameters by regression, which is as good as the regression. The difference is of the
# shares grokked within the budget, in points; the ratio of grok steps is of trials that grokked. Adjusted, it allows
# for those that the budget cuts off; of matched pairs it does not, and is nearer to 1 than the truth.

# %%
display(analysis.comparison())
_ = analysis.plot_comparison()

# %% [markdown]
# ## Each against each
#
# The same for every pair, twice. *Plain*: the difference of the shares grokked, where the sweep lies evenly in its
# space (or is a grid), so that trials of all bases have had like values of everything else. Its interval is
# Newcombe's (1998, *Statistics in Medicine* 17, method 10), made of the two shares' own intervals, which know of
# weights and seeds. *Adjusted* (or matched), as above: it removes what the other parameters happen to differ in, but
# where hardly any trial groks no curve can be fitted, and it is empty.

# %%
groups = analysis.survival("base").tables["groups"]
names = {"no base": "classification"} | {value: f"base {value}" for value in groups["value"] if value != "no base"}
share = groups.assign(written=groups["value"].map(names)).set_index("written")[["share", "share_lower", "share_upper"]]


def newcombe(a: pd.Series, b: pd.Series) -> tuple[float, float, float]:
    """The difference of two independent shares, b − a, and its ends."""
    value = b["share"] - a["share"]
    down = np.hypot(b["share"] - b["share_lower"], a["share_upper"] - a["share"])
    up = np.hypot(b["share_upper"] - b["share"], a["share"] - a["share_lower"])
    return value, value - down, value + up


# %%
rows = []
written = sorted(share.index, key=lambda name: (name != "classification", len(name), name))
for number, a in enumerate(written):
    for b in written[number + 1 :]:
        value, lower, upper = newcombe(share.loc[a], share.loc[b])
        one = compare(trials, level, a, b, REPRESENTATION, confidence=analysis.level, seed=analysis.seed)
        if one.difference is None:
            other = "cannot be had"
        else:
            points = [100 * end for end in (one.difference.value, one.difference.lower, one.difference.upper)]
            other = "{:+.0f} ({:+.0f} to {:+.0f})".format(*points)
        rows.append(
            {"b": b, "a": a, "plain": 100 * value, "lower": 100 * lower, "upper": 100 * upper, one.method: other}
        )
against = pd.DataFrame(rows)
against.round(1)

# %%
for row in against.to_dict("records"):
    interval = f"{row['lower']:+.0f} to {row['upper']:+.0f} points"
    if row["lower"] <= 0 <= row["upper"]:
        print(f"{row['b']} against {row['a']}: too few trials to tell which groks more often; anything from {interval}")
    else:
        more = "more" if row["plain"] > 0 else "less"
        print(f"{row['b']} groks {more} often than {row['a']}: {row['plain']:+.0f} points ({interval})")

# %% [markdown]
# ## The critical training fraction by base
#
# The fraction above which a trial groks more often than not. Of a base that hardly groks within this budget no such
# fraction can be estimated: the note gives the reason, and an interval from 0 to 1 says that the trials hold nothing
# about it.

# %%
critical = analysis.critical_fraction()
display(critical)
_ = analysis.plot_critical()

# %%
for one in critical.estimates or ():
    base = one.group.get("base")
    name = "classification" if base is None else f"base {base:g}"
    counted = f"{one.trials} trials of {one.configurations} configurations"
    if not np.isfinite(one.fraction):
        print(f"{name}: no fraction, by {counted}: {one.reason}")
    elif one.upper - one.lower > 0.3:
        print(f"{name}: too few ({counted}) to place it: somewhere from {one.lower:.2f} to {one.upper:.2f}")
    else:
        print(f"{name}: {one.fraction:.2f} ({one.lower:.2f} to {one.upper:.2f}), by {counted}")

# %% [markdown]
# ## To know more
#
# More trials of each base, on the same points. A grid has matched trials; so has a sweep for each base with the
# search's own seed, loaded together, when the base is all that differs:
#
# ```
# for base in 4 10; do
#   grokray sweep search_spaces/small_robust.yaml --out results/base_$base --set 'scheduler={type: fifo}' \
#     --set parameters.task_type=sequence --set parameters.base=$base
# done
# ```
#
# and `grokray.load(["results/base_4", "results/base_10"]).comparison()`.
