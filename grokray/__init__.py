"""grokray: sweeps of grokking experiments, with fused trials and honest statistics."""

# What takes time to load is loaded by those who ask for it: `grokray --help` answers at once.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from grokray.analysis.analysis import Analysis, load

__version__ = "0.1.0"
__all__ = ["Analysis", "__version__", "load"]


def __getattr__(name: str):
    if name in ("Analysis", "load"):
        from grokray.analysis import analysis

        return getattr(analysis, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
