"""A checkpoint fits a network, or the error says how it does not and the network stays as it was."""

import re
from itertools import pairwise

import pytest
import torch
from torch import nn

from medkd.networks.checkpoints import load_model, run_of


def make(*widths):
    """A chain of linear layers; the state keys are ``0.weight``, ``0.bias``, ``1.weight`` …"""
    return nn.Sequential(*(nn.Linear(a, b) for a, b in pairwise(widths)))


@pytest.fixture
def network():
    torch.manual_seed(0)
    return make(2, 3, 4)


@pytest.fixture
def refuse(network, tmp_path):
    """Save a content, expect load_model to refuse it with a message, and the network to stay untouched."""

    def expect(content, message, error=ValueError):
        path = tmp_path / "model.pt"
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            torch.save(content, path)
        before = {key: value.clone() for key, value in network.state_dict().items()}
        with pytest.raises(error, match=re.escape(f"{path}: ") + message):
            load_model(path, network)
        assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())

    return expect


def test_a_checkpoint_that_fits_fills_the_network(network, tmp_path):
    torch.manual_seed(1)
    source = make(2, 3, 4)
    assert not torch.equal(source[0].weight, network[0].weight)
    torch.save({"model": source.state_dict(), "epoch": 3}, tmp_path / "model.pt")
    assert load_model(str(tmp_path / "model.pt"), network) is network
    assert all(torch.equal(value, source.state_dict()[key]) for key, value in network.state_dict().items())


def test_a_missing_file(refuse):
    refuse(None, "expected a trained model, found nothing there", FileNotFoundError)


def test_a_folder_is_not_a_file(network, tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a trained model"):
        load_model(tmp_path, network)


@pytest.mark.parametrize(
    "content", [b"<html>a page</html>", b"this is a text file\n" * 20, b"", b"PK\x03\x04 half of a zip"]
)
def test_a_file_that_is_not_a_checkpoint(refuse, content):
    refuse(content, "expected a PyTorch checkpoint, found another kind of file")


def test_an_object_that_weights_only_refuses(refuse):
    refuse(
        {"model": nn.Linear(2, 3)},
        "expected a PyTorch checkpoint, found one that would run torch.nn.modules.linear.Linear$",
    )


def test_another_key_is_named(refuse):
    refuse({"student": make(2, 3, 4).state_dict()}, r'expected \{"model": state_dict\}, found the keys \[\'student\'\]')


def test_a_bare_state_dict_shows_its_keys(refuse):
    refuse(make(2, 3, 4).state_dict(), r'expected \{"model": state_dict\}, found the keys \[\'0.bias\', \'0.weight\'')


def test_something_that_is_no_mapping_is_named_by_its_type(refuse):
    refuse([1, 2], r'expected \{"model": state_dict\}, found the keys list')


@pytest.mark.parametrize("content", [3, {"weight": "half"}])
def test_a_model_that_is_no_state_dict_is_named_by_its_type(refuse, content):
    found = type(content).__name__
    refuse({"model": content}, f'expected a state dict of tensors under "model", found {found}')


def test_missing_weights_are_listed(refuse):
    refuse(
        {"model": make(2, 3).state_dict()},
        r"expected the weights of Sequential, found others: 2 missing \(1\.bias, 1\.weight\)$",
    )


def test_extra_weights_are_listed_ten_at_most(refuse):
    refuse({"model": make(2, 3, 4, 5).state_dict()}, r".*: 2 not expected \(2\.bias, 2\.weight\)$")
    refuse({"model": make(*range(2, 16)).state_dict()}, r".*: 22 not expected \(10\.bias, .*, 3\.weight and 12 more\)$")


def test_weights_of_another_shape_are_listed(refuse):
    refuse(
        {"model": make(2, 3, 5).state_dict()},
        r".*: 2 of another shape \(1\.weight \(5, 3\) instead of \(4, 3\), 1\.bias \(5,\) instead of \(4,\)\)$",
    )


def test_all_kinds_of_difference_at_once(refuse):
    state = make(2, 3, 4).state_dict()
    state["other"] = state.pop("0.bias")
    state["1.bias"] = torch.zeros(7)
    refuse({"model": state}, r".*1 missing \(0\.bias\); 1 not expected \(other\); 1 of another shape \(1\.bias \(7,\)")


def test_a_student_names_the_run_that_trained_it(network, tmp_path):
    path = tmp_path / "model.pt"
    for run, found in (
        ("kdas-20261128-ab12", "kdas-20261128-ab12"),
        ("x' or '1'='1", None),
        (["a"], None),
        (None, None),
    ):
        torch.save({"model": network.state_dict(), "run": run}, path)
        assert run_of(path) == found
        load_model(path, network)
    torch.save({"model": network.state_dict()}, path)
    assert run_of(path) is None
    assert run_of(tmp_path / "nowhere.pt") is None
