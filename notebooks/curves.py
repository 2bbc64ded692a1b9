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
# # Single runs
#
# Behind every number of the analysis lie curves: accuracy and loss of a trial, measured every so many steps. Here is
# a typical one of each phase, and what becomes of its events if they are defined otherwise.

# %%
import matplotlib.pyplot as plt
import pandas as pd

import grokray
from grokray.analysis.figures.style import STYLE
from grokray.analysis.figures.trial import draw
from grokray.analysis.findings.phases import events_again
from grokray.analysis.findings.typical import typical_trials
from grokray.analysis.phases import align
from grokray.analysis.trial_curve import trial_curve
from grokray.events import EventTracker
from grokray.records.folder import SweepFolder

plt.rcParams.update(STYLE)  # the look of the figures that grokray draws, for those drawn here

FOLDER = "sweep"
analysis = grokray.load(FOLDER)

# %% [markdown]
# ## A typical trial of each phase
#
# The *medoid*: of the trials of that phase that came to their end, the one with the median delay (memorization: the
# median memorization step; confusion: the median final training accuracy). Nobody picked the prettiest.

# %%
typical = typical_trials(analysis.sweeps)
pd.DataFrame(
    [
        {"phase": one.phase, "trial_id": one.curve.row["trial_id"], "chosen by": one.by, "median": one.value}
        | {"among": one.among}
        | {name: one.curve.row[name] for name in ("training_fraction", "weight_decay", "dropout", "grok_step")}
        for one in typical
    ]
)

# %% [markdown]
# Exact match of the whole answer on the training pairs and on the held-out ones. Grey: the training pairs are
# memorized; green: grokked. Steps are on a logarithmic scale.

# %%
figure, panels = plt.subplots(len(typical), 1, figsize=(7, 2.3 * len(typical)), layout="constrained", squeeze=False)
for one, axes in zip(typical, panels[:, 0], strict=True):
    analysis.plot_curves(one.curve.row["trial_id"], ax=axes)
    axes.set_title(one.phase, pad=18)  # above the names of the shaded parts
    if one is not typical[-1]:
        axes.set_xlabel("")

# %% [markdown]
# The loss of the same trials tells what accuracy hides. In a trial that memorizes first, held-out loss rises, as the
# network grows sure of its wrong answers, and then falls while held-out accuracy hardly moves: the scheduler
# `grok_asha` goes by that.

# %%
ids = {one.curve.row["trial_id"]: one.phase for one in typical}
losses = analysis.curves_of(list(ids), ["train_loss", "heldout_loss"])
figure, panels = plt.subplots(1, len(ids), figsize=(9, 2.6), sharey=True, layout="constrained", squeeze=False)
for (trial_id, phase), axes in zip(ids.items(), panels[0], strict=True):
    one = losses[losses["trial_id"] == trial_id]
    axes.plot(one["step"], one["train_loss"], color="#0072B2", label="training")
    axes.plot(one["step"], one["heldout_loss"], color="#D55E00", linestyle=(0, (4, 1.2)), label="held-out")
    axes.set(title=phase, xlabel="training steps", yscale="log", xlim=(0, None))
    axes.locator_params(axis="x", nbins=3)
panels[0][0].set_ylabel("loss")
_ = panels[0][-1].legend()

# %% [markdown]
# ## The figure of `grokray plot`
#
# `grokray plot notebooks/sweep TRIAL_ID --out figures/` writes this as PNG and SVG; `--best` takes the trial that
# grokked first. Here it shows the typical trial of the last phase above.

# %%
chosen = typical[-1].curve.row["trial_id"]
draw(trial_curve(SweepFolder.open(FOLDER), chosen))

# %% [markdown]
# ## Events by other definitions
#
# `memorization_step` and `grok_step` are read off the curves: the first measurement with at least 0.99 on the
# training pairs, and the first of three in a row with at least 0.99 on the held-out ones. Curves are kept, so any
# other definition can be had afterwards. Of the trial above:

# %%
curve = analysis.curves_of([chosen], ["train_exact_match", "heldout_exact_match"])
rows = []
for threshold in (0.9, 0.95, 0.99):
    for sustain in (1, 3, 10):
        tracker = EventTracker(threshold=threshold, sustain=sustain)
        for step, train, heldout in curve[["step", "train_exact_match", "heldout_exact_match"]].itertuples(index=False):
            tracker.observe(int(step), train, heldout)
        rows.append(
            {"threshold": threshold, "sustain": sustain, "memorization_step": tracker.memorization_step}
            | {"grok_step": tracker.grok_step, "grok_delay": tracker.grok_delay}
        )
pd.DataFrame(rows).astype({name: "Int64" for name in ("memorization_step", "grok_step", "grok_delay")})

# %% [markdown]
# A trial ends as soon as it has grokked by its own definition. A stricter one (more measurements in a row, a higher
# threshold) finds no event in a curve that was cut short there, and that is no chance end: it says nothing about
# whether the event would have come. Looser definitions are free of it, and so are all of them with
# `continue_training: true`.
#
# All trials at once; the sweep's own definition must give the sweep's own column:

# %%
again = events_again(analysis.sweeps, threshold=0.99, sustain=3)
step = pd.Series(align(analysis.sweeps.trials, again, again.grok_step))
assert step.equals(analysis.trials["grok_step"].astype(float)), "events read off the curves differ from the trials' own"
print(f"{step.notna().sum()} of {len(step)} trials grokked, by their curves as by their rows")

# %%
rows = []
for threshold in (0.9, 0.95, 0.99):
    for sustain in (1, 3):
        found = events_again(analysis.sweeps, threshold=threshold, sustain=sustain)
        step = pd.Series(align(analysis.sweeps.trials, found, found.grok_step))
        rows.append({"threshold": threshold, "sustain": sustain, "trials seen to grok": int(step.notna().sum())})
pd.DataFrame(rows)

# %% [markdown]
# These are counts of what was seen, and no shares: pruned trials were not watched to their end. Shares, with the
# audited trials weighed for the pruned ones, of phases with another accuracy and another gap between memorization and
# grokking:

# %%
analysis.phases(phase_accuracy=0.95, phase_gap_steps=500)
