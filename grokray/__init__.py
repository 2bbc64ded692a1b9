"""grokray: sweeps of grokking experiments, with fused trials and honest statistics."""

__version__ = "0.1.0"
