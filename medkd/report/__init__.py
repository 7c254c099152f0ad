"""One page that says whether to deploy a student: the verdict, its reasons, and everything they come from."""

from medkd.report.material import Limits, Material
from medkd.report.of_ladder import report_of
from medkd.report.page import write_page
from medkd.report.read import read_material
from medkd.report.verdict import Verdict, judge

__all__ = ["Limits", "Material", "Verdict", "judge", "read_material", "report_of", "write_page"]
