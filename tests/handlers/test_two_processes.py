"""What the handlers report when an epoch is shared by two processes."""

import json
import os
import subprocess
import sys

import pytest

# Three images, dealt out as a sampler does: two processes have 0 and 2, and 1.
_SCORES = """
import torch
from ignite.engine import Engine
from monai.data import MetaTensor
from medkd.handlers import TileScores
from medkd.handlers.polyp_scores import PolypScores

def scores(folder, images, rank=0):
    metrics = {}
    for handler in (TileScores(f"{folder}/tiles"), PolypScores(f"{folder}/polyps", probability_key="pred")):
        def step(engine, batch):
            torch.manual_seed(batch[0])
            mask = (torch.rand(1, 16, 16) > 0.8).float()
            image = MetaTensor(torch.zeros(3, 16, 16), meta={"filename_or_obj": f"/d/{batch[0]}.png"})
            engine.state.batch = [{"image": image, "mask": mask, "region": f"region {batch[0] % 2}"}]
            return [{"pred": 0.3 * mask + 0.7 * torch.rand(1, 16, 16), "label": mask}]
        engine = Engine(step)
        engine.state.rank = rank
        handler.attach(engine)
        engine.run([[number] for number in images])
        metrics |= engine.state.metrics
    return metrics
"""
_PROGRAM = f"""
{_SCORES}
import json, sys
from medkd.handlers import LossTerms, SegmentationScores

rank, folder = int(sys.argv[1]), sys.argv[2]
torch.distributed.init_process_group("gloo", init_method=f"file://{{folder}}/meet", rank=rank, world_size=2)
trainer = Engine(lambda engine, item: {{"loss": item}})
trainer.state.device = torch.device("cpu")
LossTerms().attach(trainer)
trainer.run([1.0, 2.0] if rank == 0 else [5.0, 8.0])

label = torch.zeros(2, 4, 4)
label[1, :2] = 1
label[0] = 1 - label[1]
prediction = label if rank == 0 else label.flip(0)
evaluator = Engine(lambda engine, batch: [{{"pred": prediction, "label": label}}])
evaluator.state.rank = rank
SegmentationScores(["heart"], {{"student": "pred"}}, output_dir=folder).attach(evaluator)
evaluator.run([[{{"image": MetaTensor(torch.zeros(1, 4, 4), meta={{"filename_or_obj": f"/d/{{rank}}.nii.gz"}})}}]])
print(json.dumps([trainer.state.metrics, evaluator.state.metrics, scores(folder, [[0, 2], [1]][rank], rank)]))
torch.distributed.destroy_process_group()
"""


@pytest.fixture(scope="module")
def metrics(tmp_path_factory):
    """The metrics of both processes, and the folder they wrote to."""
    folder = tmp_path_factory.mktemp("two")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", _PROGRAM]
    processes = [
        subprocess.Popen([*command, str(rank), str(folder)], stdout=subprocess.PIPE, text=True, env=environment)
        for rank in range(2)
    ]
    printed = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    return [json.loads(text.splitlines()[-1]) for text in printed], folder


def test_loss_terms_are_means_over_both(metrics):
    assert [training["train_loss"] for training, *_ in metrics[0]] == [4.0, 4.0]


def test_scores_are_those_of_the_cases_of_both(metrics):
    assert [evaluation["student_dice_heart"] for _, evaluation, _ in metrics[0]] == [0.5, 0.5]
    assert len((metrics[1] / "cases.csv").read_text().splitlines()) == 3


def test_tables_and_measures_are_those_of_one_process(metrics, tmp_path):
    known = {}
    exec(_SCORES, known)  # the very program of both processes
    alone = known["scores"](tmp_path, [0, 1, 2])
    assert [scores for *_, scores in metrics[0]] == [pytest.approx(alone, abs=1e-12, nan_ok=True)] * 2
    tables = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.csv"))
    assert len(tables) == 5
    for table in tables:
        assert (metrics[1] / table).read_text() == (tmp_path / table).read_text()
