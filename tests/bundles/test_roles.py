"""What a teacher scores is called the teacher's."""

from pathlib import Path

import pandas as pd
import pytest

from .conftest import Case

# How a bundle scores a teacher as a user does: a configuration more, or a setting; and the table.
TEACHERS = {"kdas": (["train_teacher.yaml"], {}, "cases.csv"), "ikdmil": ([], {"last_stage": 1}, "regions.csv")}


@pytest.mark.parametrize("case", TEACHERS, indirect=True)
def test_a_teacher_s_scores_are_called_so(case: Case, tmp_path: Path) -> None:
    configs, settings, table = next(t for name, t in TEACHERS.items() if name in case.bundle.name)
    case.train(tmp_path, *configs, "evaluate.yaml", model_path=case.settings["teacher_path"], **settings)
    assert set(pd.read_csv(tmp_path / "eval" / table)["branch"]) - {"all_foreground"} == {"teacher"}
