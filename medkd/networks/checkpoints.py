"""Reading checkpoints strictly: a file fits a network, or the error says how it does not. No file can run a program."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

__all__ = [
    "epoch_of",
    "load_model",
    "load_weights",
    "read_checkpoint",
    "read_settings",
    "read_weights",
    "run_of",
    "write_checkpoint",
]

_ADVICE = "train first, or name another"
_SHOWN = 10  # keys of a kind in a message


def read_checkpoint(path: str | Path, *, device: torch.device | str = "cpu", advice: str = _ADVICE) -> Any:
    """``torch.load`` of tensors and plain data alone (``weights_only=True``).

    Args:
        path: the file.
        device: where its tensors go.
        advice: what to do where there is no such file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is something else, or would have to run a program to be read.
        torch.OutOfMemoryError: if the device has no room for it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a trained model, found nothing there; {advice}")
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except pickle.UnpicklingError as error:  # PyTorch's own advice is to switch the protection off
        found = re.search(r"GLOBAL:? (?:GLOBAL )?([\w.]+)", str(error))
        what = f"one that would run {found[1]}" if found else "another kind of file"
        raise ValueError(f"{path}: expected a PyTorch checkpoint, found {what}") from error
    except torch.OutOfMemoryError:  # of the device: the file is sound
        raise
    except Exception as error:  # whatever torch makes of the bytes, they are not a checkpoint
        raise ValueError(f"{path}: expected a PyTorch checkpoint, found another kind of file ({error})") from error


def load_model(path: str | Path, network: nn.Module, *, advice: str = _ADVICE, bare: bool = False) -> nn.Module:
    """Fill a network from ``{"model": state_dict}``.

    Args:
        path: the checkpoint; it is read with ``weights_only=True``.
        network: the network to fill; untouched if anything does not fit.
        advice: what to do where there is no such file.
        bare: take a state dict by itself too, as some bundles of the model zoo have it.

    Returns:
        The network.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a checkpoint, has no ``"model"``, or belongs to another architecture.
    """
    content = read_checkpoint(path, advice=advice)
    if bare and _is_state_dict(content):
        return load_weights(content, network, path)
    if not isinstance(content, Mapping) or "model" not in content:
        found = sorted(map(str, content))[:5] if isinstance(content, Mapping) else type(content).__name__
        raise ValueError(f'{path}: expected {{"model": state_dict}}, found the keys {found}')
    weights = content["model"]
    if not _is_state_dict(weights):
        raise ValueError(f'{path}: expected a state dict of tensors under "model", found {type(weights).__name__}')
    return load_weights(weights, network, path)


def read_settings(path: str | Path) -> dict[str, Any]:
    """What a student was trained with: ``"settings"`` beside its weights; empty where the file does not say.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a checkpoint, or holds something else than plain data there: no text in it may be an
            expression or a reference, which a configuration would evaluate.
    """
    content = read_checkpoint(path)
    settings = content.get("settings", {}) if isinstance(content, Mapping) else {}
    if not isinstance(settings, Mapping):
        raise ValueError(f'{path}: expected a mapping under "settings", found {type(settings).__name__}')
    strange = list(_no_plain_data(settings))
    if strange:
        raise ValueError(f'{path}: expected plain data under "settings", found {strange[0]!r}')
    return dict(settings)


def run_of(path: str | Path) -> str | None:
    """The name of the run in MLflow that a student was trained in; ``None`` if its file does not say, or there is none."""
    content = read_checkpoint(path) if Path(path).is_file() else None
    run = content.get("run") if isinstance(content, Mapping) else None
    return run if isinstance(run, str) and re.fullmatch(r"[\w.-]+", run) else None


def epoch_of(path: str | Path) -> int | None:
    """The epoch that a student is of, from 1 on; ``None`` if its file does not say."""
    content = read_checkpoint(path)
    epoch = content.get("epoch") if isinstance(content, Mapping) else None
    return epoch if isinstance(epoch, int) else None


def write_checkpoint(content: Any, path: Path) -> None:
    """``torch.save``, which by itself says nothing of why a file could not be written.

    Raises:
        OSError: with the path and the system's reason, a full disk for example.
    """
    with path.open("wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:
            reason = error.__context__
            raise (
                OSError(reason.errno, reason.strerror, str(path)) if isinstance(reason, OSError) else error
            ) from None


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read a bare state dict, as official releases have them, with ``weights_only=True``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is something else.
    """
    content = read_checkpoint(path, advice="name another")
    if not _is_state_dict(content):
        found = sorted(map(str, content))[:5] if isinstance(content, Mapping) else type(content).__name__
        raise ValueError(f"{path}: expected a state dict of tensors, found {found}")
    return dict(content)


def load_weights(weights: Mapping[str, Tensor], network: nn.Module, source: str | Path) -> nn.Module:
    """Fill a network from a state dict that fits it exactly.

    Args:
        weights: the state dict.
        network: the network to fill; untouched if anything does not fit.
        source: where the weights are from, for the error.

    Returns:
        The network.

    Raises:
        ValueError: with every kind of misfit at once.
    """
    problems = _differences(weights, network.state_dict())
    if problems:
        raise ValueError(
            f"{source}: expected the weights of {type(network).__name__}, found others: " + "; ".join(problems)
        )
    network.load_state_dict(weights)
    return network


def _no_plain_data(value: Any) -> Iterator[Any]:
    """Whatever is no list, mapping, number, switch or nothing, and every text that a configuration would evaluate."""
    if isinstance(value, str):
        if value.startswith(("$", "@", "%")):
            yield value
    elif type(value) in (dict, list):
        for one in [*value, *value.values()] if isinstance(value, dict) else value:
            yield from _no_plain_data(one)
    elif value is not None and type(value) not in (bool, int, float):
        yield value


def _is_state_dict(content: Any) -> bool:
    return isinstance(content, Mapping) and all(isinstance(value, Tensor) for value in content.values())


def _differences(found: Mapping[str, Any], expected: Mapping[str, Tensor]) -> list[str]:
    """Missing, extra and mis-shaped keys, each kind in one phrase."""
    kinds = {
        "missing": sorted(expected.keys() - found.keys()),
        "not expected": sorted(found.keys() - expected.keys()),
        "of another shape": [
            f"{key} {tuple(found[key].shape)} instead of {tuple(expected[key].shape)}"
            for key in expected
            if key in found and found[key].shape != expected[key].shape
        ],
    }
    return [f"{len(keys)} {kind} ({_listed(keys)})" for kind, keys in kinds.items() if keys]


def _listed(keys: Sequence[str]) -> str:
    more = len(keys) - _SHOWN
    return ", ".join(keys[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
