"""What the runs of a bundle begin with: the command line, what an earlier training left, and a name."""

from __future__ import annotations

import os
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medkd import program
from medkd.bundle.command_line import is_bundle_run, overrides
from medkd.files import atomic_path
from medkd.folder_lock import lock

__all__ = ["begin", "chosen", "existing", "names_before", "run_name", "sqlite_uri", "start_training"]

_NAMES = "run_name.txt"
_before: dict[str, list[str]] = {}


def begin() -> None:
    """The first expression of ``initialize``: what the command line ``python -m monai.bundle run`` needs.

    Values of the command line become those of the types that the configuration has, and the program ends in one line.
    Nothing is done for another program, whose values are values: a notebook, a server, ``medkd ladder``.

    Raises:
        ValueError: for keys that no configuration file of the command has, each with the nearest one, and for values of
            another type; MONAI would ignore those and take the string ``"false"`` for true.
    """
    if not is_bundle_run(sys.argv):
        return
    from medkd.bundle.running import change, running_parser  # MONAI is slow to import, and names need none of it

    program.watch()
    parser = running_parser()
    values = overrides(sys.argv, parser)
    changed = {key: value for key, value in values.items() if parser[key] is not value}
    if changed:
        change(parser, changed)


def start_training(state_dirs: Sequence[str], student: str | None, *, resume: bool, fresh: bool) -> None:
    """Refuse a training that would delete another one, unless it is told to: to be called before anything is written.

    Only of ``python -m monai.bundle run``, where ``--resume true`` is easily forgotten; a server trains again and again.

    Args:
        state_dirs: folders of the ``TrainingState`` of each stage that will be trained.
        student: the file that ``BestModel`` will write; ``None``: none.
        resume: go on after the last complete epoch.
        fresh: start anew: ``TrainingState`` deletes the earlier saves, ``BestModel`` replaces the student.

    Raises:
        RuntimeError: if another process trains there, before anything of this training is known anywhere.
        ValueError: if there are saves or a student, and neither was asked for; or both were.
    """
    if not is_bundle_run(sys.argv):
        return
    if resume and fresh:
        raise ValueError("expected --resume true or --fresh true, found both")
    saves = [path for folder in state_dirs for path in sorted(Path(folder).glob("epoch=*.pt"))]
    found = [*saves, *([Path(student)] if student and Path(student).is_file() else [])]
    if found and not fresh and not (resume and (saves or _is_of_a_first_epoch(found[-1], state_dirs))):
        raise ValueError(
            f"{found[-1]}: expected no earlier training in the way, found its {'saves' if saves else 'student'}; "
            + ("--resume true goes on with it, " if saves else "")
            + "--fresh true deletes its saves and replaces its student"
        )
    if int(os.environ.get("RANK", "0")) == 0:
        for folder in state_dirs:
            lock(folder)


def _is_of_a_first_epoch(student: Path, state_dirs: Sequence[str]) -> bool:
    """Whether the training of these folders wrote it in its first epoch, and was killed before that epoch's save.

    Begun again it leaves the same or a better one. A later student is not risked, whose saves somebody has deleted.
    """
    from medkd.networks.checkpoints import epoch_of, run_of

    names = [path.read_text(encoding="utf-8").split() for folder in state_dirs for path in Path(folder).glob(_NAMES)]
    try:
        return run_of(student) in [last for *_, last in names] and epoch_of(student) == 1
    except ValueError:  # it cannot be read
        return False


def run_name(state_dir: str, *, prefix: str, resume: bool = False) -> str:
    """A unique name, kept beside the training's state so that a resumed training goes on in its own MLflow run.

    Args:
        state_dir: folder of the training state.
        prefix: start of the name, e.g. the method.
        resume: give the name that was kept there last, if there is one.
    """
    kept = Path(state_dir) / _NAMES
    names = kept.read_text(encoding="utf-8").split() if kept.is_file() else []
    if resume and names:
        return names[-1]
    name = f"{prefix}-{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}"
    if int(os.environ.get("RANK", "0")) == 0:  # the other processes of a training do not track it
        with atomic_path(kept) as partial:
            partial.write_text("\n".join([*names, name]) + "\n", encoding="utf-8")
    _before[name] = names
    return name


def names_before(name: str) -> list[str]:
    """The runs of the same folder that a new run of this process takes the place of: none of them still runs."""
    return _before.get(name, [])


def sqlite_uri(path: str | Path) -> str:
    """The address of the MLflow store in a file.

    What would be misread in it (%, ? and #) is quoted, nothing else: for what is, as the space by ``monai.utils.path_to_sqlite_uri``, MLflow
    makes a second, empty folder.
    """
    place = str(Path(path).resolve()).replace("%", "%25").replace("?", "%3F").replace("#", "%23")
    return f"sqlite:///{place}"


def existing(path: str) -> str | None:
    """The path, if there is a file."""
    return path if Path(path).is_file() else None


def chosen(key: str, word: str, /, **options: Any) -> Any:
    """What a word stands for.

    Args:
        key: of the configuration, whose value the word is.
        word: one of the options.
        options: what each word stands for.

    Raises:
        ValueError: for another word.
    """
    if word not in options:
        raise ValueError(f"{key}: expected one of {', '.join(options)}, found {word!r}")
    return options[word]
