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
# # How robust is grokking?
#
# From a sweep's Parquet files alone: what was run, how often and when trials grok, and what that depends on. The
# sweep that comes with the notebooks is small (x+y modulo 31, 72 configurations, three seeds each): it shows how to
# read each answer, and its intervals show how little so few trials can tell. Put another folder in its place to ask
# the same of it.

# %%
import duckdb
import matplotlib.pyplot as plt
import pandas as pd
import pyarrow.dataset as ds
from IPython.display import display

import grokray
from grokray.analysis.figures.style import STYLE

plt.rcParams.update(STYLE)  # the look of the figures that grokray draws, for those drawn here

FOLDER = "sweep"  # or a sweep's folder such as ../results/small_robust, or a list of several

# %% [markdown]
# ## The tables
#
# `trials.parquet` has a row for each trial, `curves/` one for each measurement. They need no grokray: any reader of
# Parquet will do. With pyarrow, a few columns:

# %%
first = FOLDER if isinstance(FOLDER, str) else FOLDER[0]
columns = ["trial_id", "task_type", "base", "training_fraction", "weight_decay", "dropout", "phase", "grok_step"]
ds.dataset(f"{first}/trials.parquet").to_table(columns=columns).slice(0, 5).to_pandas()

# %% [markdown]
# With pandas, how trials ended. A trial that was not seen to grok is *censored*: it might have, later.
# `censor_reason` says why it was not watched any longer.

# %%
trials = pd.read_parquet(f"{first}/trials.parquet")
trials.groupby(["event_observed", "censor_reason"], dropna=False).agg(
    trials=("trial_id", "size"), shortest=("duration_steps", "min"), longest=("duration_steps", "max")
)

# %% [markdown]
# With duckdb, straight from the files, what a hasty reader would compute: the share of trials that were seen to grok,
# and the mean of their steps, by task type. **Neither can be trusted.** The share counts pruned trials as if they had
# failed, though nobody watched them to their end, and the mean leaves out all that would have been late: in the sweep
# that comes with the notebooks it makes sequences, which seldom grok, look as fast as classification. The same by
# estimators that allow for it comes below.

# %%
duckdb.sql(f"""
    select task_type, count(*) as trials, avg(event_observed::int) as share_seen, avg(grok_step) as mean_grok_step
    from '{first}/trials.parquet' group by task_type order by task_type
""").df()

# %% [markdown]
# ## What was run
#
# `grokray.load` reads the same tables. Each of its methods answers one question as a *finding*: a sentence, tables
# (pandas frames in which `x_lower` and `x_upper` are the interval of `x`), and notes on what to mind.

# %%
analysis = grokray.load(FOLDER)
analysis.overview()

# %% [markdown]
# ## What the scheduler did
#
# Before any number: a scheduler stops the trials that are behind, so those it leaves are no fair sample. Some of
# those that it wanted to stop were chosen by lot to run on to their budget, and tell what would have become of the
# rest. Each of these *audited* trials counts 1 / `audit_probability`, a pruned one nothing, any other one 1. The
# first table says how often a stop would have killed a trial that groks, and what share of all trials that grok was
# lost. If none of the audited ones grokked the share is 0, but its upper end says how much that proves.

# %%
analysis.audit()

# %%
audit = analysis.audit().estimates
if audit is not None:
    rate = audit.false_stop_rate
    print(
        f"{audit.grokked_later} of {audit.finished} audited trials grokked: up to {100 * rate.upper:.0f} % of stops "
        f"could kill a trial that groks ({100 * analysis.level:g} % interval)."
    )

# %% [markdown]
# ## Robustness
#
# The share of the search space in which a trial groks within its budget. The interval takes configurations, each
# with all its seeds, as what was drawn, since the seeds of one configuration are no independent trials; the second
# row draws seeds anew as well, and so speaks of other seeds than these. Along each parameter everything else is
# averaged over.

# %%
analysis.robustness()

# %%
swept = analysis.robustness().tables["profiles"]["parameter"].unique()
numeric = [name for name in ("training_fraction", "weight_decay", "dropout") if name in swept]
figure, panels = plt.subplots(
    1, max(len(numeric), 1), figsize=(9, 2.7), sharey=True, layout="constrained", squeeze=False
)
for name, panel in zip(numeric, panels[0], strict=False):
    analysis.plot_profile(name, ax=panel)
    panel.label_outer()

# %% [markdown]
# A warning about small tables: the more pairs are trained on, the fewer are held out, and the fewer mistakes the
# threshold allows, in three measurements in a row. At the largest fractions one wrong pair is the difference between
# grokked and not, so a share that falls there may be the criterion's doing rather than the network's.

# %%
sizes = analysis.trials.groupby(pd.cut(analysis.trials["training_fraction"], 4), observed=True).agg(
    fraction=("training_fraction", "mean"), pairs=("operand_limit", lambda limit: (limit**2).mean())
)
sizes["held_out"] = (sizes["pairs"] * (1 - sizes["fraction"])).round()
sizes["mistakes_allowed"] = (0.01 * sizes["held_out"]).astype(int)
sizes[["held_out", "mistakes_allowed"]].astype(int)

# %% [markdown]
# ## Time to grok
#
# The share grokked by a step, by Kaplan and Meier. A trial that ended without grokking counts as "not until its last
# measurement", so it is neither left out nor taken as a failure; one that diverged counts as not grokked to the end
# of its budget. The band is the 95 % interval. Where a curve stays below one half there is no median, and the table
# says so in place of inventing one; the mean is *restricted*: of the steps until grokking or the end of the budget,
# whichever comes first.

# %%
_ = analysis.plot_survival()

# %% [markdown]
# By task type: the answer as one token (*classification*), or as digits (*sequence*). The log-rank test asks whether
# the curves differ, with the trials weighed as above.

# %%
_ = analysis.plot_survival("task_type")

# %%
analysis.survival("task_type")

# %% [markdown]
# ## Phases
#
# What became of each trial, after Liu et al. 2022: *confusion* (the training pairs were never learned),
# *memorization* (they alone), *comprehension* (the held-out pairs soon after) and *grokking* (1,000 steps or more
# after). In the diagram each cell has its commonest phase, and the share that grokked. Phases use an accuracy of 0.9
# and grokking 0.99, so a trial can be in phase *grokking* without having grokked. A pruned trial has the phase in
# which it was stopped, which says little, so the diagram and the shares leave it to the audited ones.

# %%
_ = analysis.plot_phases("training_fraction", "weight_decay")

# %%
analysis.phases()

# %% [markdown]
# ## Effects
#
# What one unit of each parameter does, all others held fixed: to *whether* a trial groks within its budget, in points
# of the share that does, and to *when* it does, as a factor on the steps (accelerated failure time, of those that
# grokked): 2 means twice the steps. What helps the one may hurt the other. The two tables below these mix them, as if
# trials that did not grok were late. An interval that spans none does not say that there is no effect: it says that
# this sweep cannot tell.

# %%
figure, panels = plt.subplots(1, 2, figsize=(9, 2.9), layout="constrained")
for of, panel in zip(("whether", "when"), panels, strict=True):
    analysis.plot_effects(of, ax=panel)

# %%
analysis.effects()

# %% [markdown]
# ## The critical training fraction
#
# Above which a trial groks more often than not. All that is assumed is that the share that groks rises with the
# fraction. An interval may be lopsided, or have no end: then that share hardly rises, or there are too few trials to
# say so. The reason stands in place of the number.

# %%
display(analysis.critical_fraction())
_ = analysis.plot_critical()

# %% [markdown]
# ## What matters
#
# Two measures of which parameters matter, as they need not agree: fANOVA splits the variance of the time to grok over
# the whole space, PED-ANOVA asks what tells the best configurations from the rest. Read the intervals, not the bars:
# the numbers come from configurations drawn by their weights.

# %%
display(analysis.importance())
_ = analysis.plot_importance()

# %% [markdown]
# How far the order can be trusted: the same with other draws. If a parameter changes its place, the sweep has too few
# configurations to rank them.

# %%
draws = {seed: grokray.load(FOLDER, seed=seed).importance() for seed in range(3)}
both = {seed: finding.table.set_index("parameter") for seed, finding in draws.items() if finding.missing is None}
ranks = {
    (name, seed): table[name].rank(ascending=False) for seed, table in both.items() for name in ("fanova", "ped_anova")
}
pd.DataFrame(ranks).sort_index(axis=1).astype("Int64").rename_axis(columns=["rank by", "draw"])

# %% [markdown]
# What early measurements tell: of two trials that have not grokked yet, which will first? Among all pairs a measure may
# only tell parameters apart; pairs that differ in their seeds alone say what it tells by itself.

# %%
display(analysis.predictors(at=[250, 1000]))
_ = analysis.plot_predictors()

# %% [markdown]
# How much of it is chance: the share of the variance between configurations, and between seeds of one configuration.

# %%
analysis.variance()

# %% [markdown]
# ## What speaks against these numbers
#
# Few trials, few audits, coarse measurements, trials that failed: each has its warning here. For all of this in one
# file: `grokray report notebooks/sweep --out report.html`.

# %%
analysis.quality()
