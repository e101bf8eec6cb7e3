"""The version, in the one place that states it; the build reads it without importing altsem."""

__version__ = "0.1.0"
