"""What a configuration would run: its expressions and imports, and what it calls outside the known packages."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medkd.library import bundle_names, bundle_path

if TYPE_CHECKING:
    from monai.bundle.config_item import ComponentLocator

__all__ = ["code_in", "is_shipped"]

# Without monai.bundle, whose workflows run configurations, and applications, which download.
_PARTS = tuple(
    f"monai.{name}."
    for name in ("data", "engines", "handlers", "inferers", "losses", "metrics", "networks", "transforms")
)


def code_in(config: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Every place of a configuration, as read and not executed, that holds code, with the code.

    Expressions (``$…``), references to other files (``%…``) and imports are code. So is every ``_target_`` but the names of
    MONAI's own networks, transforms and the like (``UNet``): a path through any package leads anywhere (``torch.os.system``), and
    among the names that MONAI knows are functions that start programs (``run_cmd``).
    """
    items: Iterator[tuple[Any, Any]] = iter(())
    if isinstance(config, Mapping):
        items = iter(config.items())
    elif isinstance(config, list):
        items = iter(enumerate(config))
    elif isinstance(config, str) and (config.startswith(("$", "%")) or _is_foreign(place, config)):
        yield place, config
    for key, value in items:
        yield from code_in(value, f"{place}#{key}" if place else str(key))


def _is_foreign(place: str, text: str) -> bool:
    return place.endswith("_target_") and not _is_component(text)


@functools.cache
def _is_component(name: str) -> bool:
    """Whether MONAI looks up a plain name among its classes of parts, in whichever of its modules it finds it."""
    modules = _components().get_component_module_name(name) or []
    found = [
        getattr(import_module(module), name, None) for module in ([modules] if isinstance(modules, str) else modules)
    ]
    return bool(found) and all(isinstance(one, type) and one.__module__.startswith(_PARTS) for one in found)


@functools.cache
def _components() -> ComponentLocator:
    from monai.bundle.config_item import ComponentLocator

    return ComponentLocator()


def is_shipped(path: str | Path) -> bool:
    """Whether a configuration is, byte for byte, one that medkd ships."""
    name, content = Path(path).name, Path(path).read_bytes()
    shipped = (bundle_path(bundle) / "configs" / name for bundle in bundle_names())
    return any(file.is_file() and file.read_bytes() == content for file in shipped)
