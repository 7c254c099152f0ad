"""What a student costs to run: time, memory, size and arithmetic, each case in a process of its own."""

from medkd.efficiency.candidates import Candidate, candidates
from medkd.efficiency.compare import compare
from medkd.efficiency.picture import save_picture
from medkd.efficiency.table import render

__all__ = ["Candidate", "candidates", "compare", "render", "save_picture"]
