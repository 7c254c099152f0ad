"""What a MONAI Label server demands of a bundle, checked before it is served.

The server itself says little: weights that do not fit are loaded as far as they do (``strict=False``), a missing key
becomes an empty list, and any ``models/*.pt`` may be taken for the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from monai.bundle import ConfigParser

from medkd.bundle import Bundle, read_bundle
from medkd.serving.trial import trial_problems

__all__ = ["deployment_problems"]

_INFERENCE_KEYS = ("bundle_root", "device", "network_def", "preprocessing", "inferer", "postprocessing")
_TRAINING_KEYS = (
    "network",
    "train#trainer#max_epochs",
    "train#dataset#data",
    "train#handlers",
    "validate#dataset#data",
)
_TYPES = ("deepedit", "deepgrow", "detection", "classification")  # which the server reads out of a folder's name


def deployment_problems(
    bundle: str | Path, name: str | None = None, *, runtime: str | None = None, precision: str | None = None
) -> list[str]:
    """Everything that would make a server refuse a bundle, or serve something else than its student.

    Args:
        bundle: the bundle's folder, trained: with ``models/model.pt``.
        name: what the server will call it; the folder's name by default.
        runtime: what will run the student, as for ``medkd.bundle.student_network``; what ``inference.yaml`` says by default.
        precision: of an exported student, likewise.

    Returns:
        For each problem the file or key, what was expected, what was found and the remedy. Where the files can be
        read and the weights fit, a synthetic image is sent the way that the server would send it.
    """
    path = Path(bundle).resolve()
    problems = [*_name_problems(name or path.name), *_weights_problems(path)]
    try:
        served = read_bundle(path)
    except ValueError as error:
        return [*problems, str(error)]
    if runtime not in (None, "pytorch") and "runtime" not in served.inference:
        problems.append(
            f"{path / 'configs'}: expected the key runtime in inference.yaml, found none; the server reads it there"
        )
    served.run_by(runtime, precision)
    problems += [*_key_problems(served), *_label_problems(served), *_handler_problems(served)]
    return problems or _running_problems(served)


def _name_problems(name: str) -> Iterator[str]:
    if not name.replace("_", "").replace("-", "").isalnum():
        yield f"{name}: expected a name of letters, digits, - and _, for the server's list of models; give another --name"
    found = [kind for kind in _TYPES if kind in name.lower()]
    if found:
        yield f"{name}: expected a name without {found[0]!r}, which the server takes for the kind of model; give another --name"


def _weights_problems(path: Path) -> Iterator[str]:
    """The server offers every ``models/*.pt``, the shortest name first."""
    models = sorted((path / "models").glob("*.pt"))
    if path / "models" / "model.pt" not in models:
        yield f"{path / 'models' / 'model.pt'}: expected the trained student, found none; train first, or export it there"
    others = [model.name for model in models if model.name != "model.pt"]
    if others:
        yield f"{path / 'models'}: expected model.pt alone, found {', '.join(others)} too; move them to checkpoints/"


def _key_problems(served: Bundle) -> Iterator[str]:
    yield from _absent(served, "inference", served.inference, _INFERENCE_KEYS)
    if served.training is not None:
        yield from _absent(served, "train", served.training, _TRAINING_KEYS)


def _absent(served: Bundle, name: str, parser: ConfigParser, keys: tuple[str, ...]) -> Iterator[str]:
    for key in keys:
        if parser.get(key) is None:
            yield f"{served.path / 'configs' / name}.*: expected the key {key}, found none; the server reads or sets it"


def _label_problems(served: Bundle) -> Iterator[str]:
    where = f"{served.path / 'configs' / 'metadata.json'}: network_data_format"
    try:
        labels = served.labels
    except (KeyError, StopIteration, ValueError, AttributeError, TypeError) as error:
        yield f"{where}: expected outputs with a channel_def such as {{'0': 'background', '1': 'polyp'}}, found {error!r}"
        return
    if not labels:
        yield f"{where}: expected a label beside the background in channel_def, found none; readers could draw nothing"


def _handler_problems(served: Bundle) -> Iterator[str]:
    """The server puts its own handler into the list."""
    handlers = served.training.get("train#handlers", []) if served.training is not None else []
    if handlers is None:
        return
    literal = isinstance(handlers, list) and all(
        isinstance(h, dict) and isinstance(h.get("_target_"), str) for h in handlers
    )
    if not literal:
        yield (
            f"{served.path / 'configs' / 'train'}.*: expected train#handlers as a list of mappings with a _target_, "
            f"found {handlers if isinstance(handlers, str) else type(handlers).__name__}; the server edits that list"
        )


def _running_problems(served: Bundle) -> list[str]:
    model = served.path / "models" / "model.pt"
    try:
        served.inference.update({"device": "cpu"})
        network = served.student()
    except (FileNotFoundError, ImportError) as error:  # nothing was exported, or its runtime is not there
        return [str(error)]
    except Exception as error:  # noqa: BLE001 - a configuration can raise anything
        return [f"{model}: {error.__cause__ or error}; train again, or name the network it belongs to in network_def"]
    return list(trial_problems(served.inference, network, served.labels, picture=served.pictures))
