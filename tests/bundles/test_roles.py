"""What a teacher scores is called the teacher's."""

from pathlib import Path

import pandas as pd
import pytest
import yaml
from monai.bundle import ConfigParser

from medkd.bundle import bundle_path
from medkd.ladder import load_ladder

from .conftest import Case

# How a bundle scores a teacher as a user does: a configuration more, or a setting; and the table.
TEACHERS = {"kdas": (["train_teacher.yaml"], {}, "cases.csv"), "ikdmil": ([], {"last_stage": 1}, "regions.csv")}


@pytest.mark.parametrize("case", TEACHERS, indirect=True)
def test_a_teacher_s_scores_are_called_so(case: Case, tmp_path: Path) -> None:
    configs, settings, table = next(t for name, t in TEACHERS.items() if name in case.bundle.name)
    case.train(tmp_path, *configs, "evaluate.yaml", model_path=case.settings["teacher_path"], **settings)
    assert set(pd.read_csv(tmp_path / "eval" / table)["branch"]) - {"all_foreground"} == {"teacher"}


@pytest.mark.parametrize(
    ("file", "epochs"),
    [("recipes/cpu.yaml", [4]), ("recipes/gpu.yaml", [160, 320]), ("demo.yaml", [2, 4]), ("", [10, 20])],
)
def test_the_ladder_s_roles_change_where_a_student_has_been_validated(file: str, epochs: list[int]) -> None:
    bundle = bundle_path("ikdmil")
    settings = yaml.safe_load((bundle / "configs" / file).read_text(encoding="utf-8")) if file else {}
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "train.yaml"))
    parser.update({**settings.get("training", settings), **load_ladder(bundle, ["role_switch"]).rungs["role_switch"]})
    assert parser.get_parsed_content("switch_epochs") == epochs
    assert all(epoch % parser["val_interval"] == 0 for epoch in epochs)
