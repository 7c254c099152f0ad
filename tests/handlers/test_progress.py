"""The bar of a training."""

import re

from ignite.engine import Engine, Events

from medkd.handlers import LossTerms, Progress


def train(*, resumed_at=0, rank=0):
    engine = Engine(lambda engine, item: {"image": None, "loss": 0.25})
    engine.state.rank = rank

    def restore():
        engine.state.epoch, engine.state.iteration = resumed_at, resumed_at * 5

    for handler in (LossTerms(), Progress("stage 1")):
        handler.attach(engine)
    engine.add_event_handler(Events.STARTED, restore)  # TrainingState comes last
    engine.run(range(5), max_epochs=4)


def bars(capsys):
    return re.sub(r"\x1b\[A", "", capsys.readouterr().err).split("\r")


def test_the_whole_training_is_shown_with_its_loss_and_the_time_left(capsys):
    train()
    last = bars(capsys)[-1]
    assert "stage 1, epoch 4 of 4: 100%" in last
    assert "20/20 [" in last
    assert "loss=0.25" in last


def test_a_resumed_one_begins_where_it_was(capsys):
    train(resumed_at=3)
    found = bars(capsys)
    assert "15/20 [" in found[1]
    assert "20/20 [" in found[-1]


def test_other_processes_show_nothing(capsys):
    train(rank=1)
    assert capsys.readouterr().err == ""
