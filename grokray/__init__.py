"""grokray: sweeps of grokking experiments, with fused trials and honest statistics.

In Python, of folders that `grokray sweep` or `grokray train` wrote:

load               one sweep, or several as one, as an Analysis: tables, findings and plots (docs/analysis.md)
load_model         a trained model as plain PyTorch modules, with its data (docs/checkpoints.md)
load_models        the same at each step of which a checkpoint was kept, for measures of your own
progress_measures  restricted and excluded loss along a trial's checkpoints (docs/progress.md)

`help(grokray.load)` and so on say what they take. Errors are of `grokray.errors.GrokrayError`.
"""

from grokray.version import VERSION

# What takes time to load is loaded by those who ask for it: `grokray --help` answers at once.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from grokray.analysis.analysis import Analysis, load
    from grokray.sweep.kept import load_model, load_models
    from grokray.sweep.progress_measures import progress_measures

__version__ = VERSION
__all__ = ["Analysis", "__version__", "load", "load_model", "load_models", "progress_measures"]


def __getattr__(name: str):
    if name in ("Analysis", "load"):
        from grokray.analysis import analysis

        return getattr(analysis, name)
    if name in ("load_model", "load_models"):
        from grokray.sweep import kept

        return getattr(kept, name)
    if name == "progress_measures":
        from grokray.sweep.progress_measures import progress_measures

        return progress_measures
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """For completion: what is loaded late has no name here before it is asked for."""
    return sorted({*globals(), *__all__})
