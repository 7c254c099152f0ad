"""Metrics of an epoch in the log."""

import logging
import re

import pytest
from ignite.engine import Engine, Events

from medkd.handlers import EpochStats


def run(step=lambda engine, item: item, **kwargs):
    engine = Engine(step)
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda: engine.state.metrics.update(dice=0.5))
    EpochStats(**kwargs).attach(engine)
    engine.run([0], max_epochs=2)


def test_metrics_of_every_epoch_are_logged(capsys):
    run(name="scores")
    assert re.findall(r"Epoch\[\d\] Metrics -- dice: 0\.5000", capsys.readouterr().out) == [
        "Epoch[1] Metrics -- dice: 0.5000",
        "Epoch[2] Metrics -- dice: 0.5000",
    ]


def test_without_a_name_they_are_in_the_engine_s_own_log(caplog):
    with caplog.at_level(logging.INFO):
        run(name=None)
    assert "Epoch[2] Metrics -- dice: 0.5000" in caplog.text


def test_an_error_is_raised_without_its_traceback_in_the_log(caplog):
    with pytest.raises(ZeroDivisionError):
        run(lambda engine, item: 1 / 0)
    assert "Traceback" not in caplog.text
