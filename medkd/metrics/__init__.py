"""Only what MONAI's metrics lack."""

from medkd.metrics.spacing import known_spacing

__all__ = ["known_spacing"]
