"""How a report's figures look, and how they get into its page."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["COLOURS", "DASHES", "MARKERS", "Plot", "axes", "image_uri"]

# Okabe and Ito's colours, told apart by everyone; markers and dashes tell the parts apart without them too.
COLOURS = {"student": "#0072b2", "teacher": "#d55e00", "alone": "#4d4d4d", "full": "#007a5a"}
MARKERS = {"student": "o", "teacher": "s", "alone": "^", "full": "D"}
DASHES = {"student": "-", "teacher": "--", "alone": ":", "full": "-."}
_STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica", "Arial", "Liberation Sans", "DejaVu Sans", "sans-serif"],
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text: small, and sharp at every size
    "svg.hashsalt": "medkd",
}


class Plot:
    """A figure of a page: ``uri`` is filled when the drawing is done."""

    def __init__(self, title: str, alt: str) -> None:
        self.title, self.alt, self.uri = title, alt, ""


@contextmanager
def axes(plot: Plot, *, height: float = 3.2) -> Iterator[Any]:
    """An axis; what is drawn on it becomes the plot's ``uri``. It is as wide as a telephone's page, so that its text is readable there."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(4.6, height), layout="constrained")
        FigureCanvasSVG(figure)
        yield figure.subplots()
        written = io.BytesIO()
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    plot.uri = image_uri(written.getvalue(), "svg+xml")


def image_uri(content: bytes, kind: str) -> str:
    """A picture as an address that holds it."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
