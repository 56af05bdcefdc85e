"""The offer opt-out consumer: tells the insurer of every offer that was presented and not bought."""

__version__ = "0.9.0"
