"""The app that `medkd deploy` makes: MONAI Label looks for MyApp in main.py."""

from medkd.monailabel.app import MyApp

__all__ = ["MyApp"]
