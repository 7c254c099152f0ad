"""What the stock app for bundles cannot do: regions of whole slides, and the study of which the student is least sure."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from monailabel.interfaces.app import MONAILabelApp
from monailabel.tasks.activelearning.first import First
from monailabel.tasks.activelearning.random import Random
from monailabel.utils.async_tasks.utils import processes
from monailabel.utils.others.generic import strtobool

import medkd
from medkd.bundle import modality, read_metadata
from medkd.datasets.predictions import image_stem
from medkd.dicom import read_series
from medkd.monailabel.download import whole_series
from medkd.monailabel.guard import check_image, guarded
from medkd.monailabel.known_keys import check_request
from medkd.monailabel.privacy import hide_studies
from medkd.monailabel.runtimes import StudentInferTask
from medkd.monailabel.segments import named_corrections, segment_attributes
from medkd.monailabel.server import guard_server
from medkd.monailabel.slides import TileInferTask
from medkd.monailabel.training import DistillationTrainTask
from medkd.monailabel.uncertainty import EntropyScoring, LeastCertain

__all__ = ["MyApp"]

_logger = logging.getLogger(__name__)


class MyApp(MONAILabelApp):  # type: ignore[misc] # the server is not installed where medkd is checked
    """Serves every bundle in ``APP/model``, or those of ``--conf models A,B``; nothing is fetched from a model zoo.

    Args:
        app_dir: the app's folder.
        studies: folder of images, or a DICOMweb server.
        conf: ``models``; ``skip_trainers``; ``preload``; ``origins``, as for ``guard_server``; ``promote`` and
            ``anonymous_cases``, as for ``DistillationTrainTask``.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        # Messages about what is not a study yet, or that name the patients of a PACS: "Saving Label … PatientID".
        for name in ("datastore", "endpoints.datastore", "endpoints.session"):
            logging.getLogger(f"monailabel.{name}").setLevel(logging.WARNING)
        hide_studies(self._names)
        self.places = _places(Path(app_dir) / "model", conf.get("models", ""))
        # Two versions are never mixed: a task keeps to the folder that it began with.
        self.bundles = {name: place.resolve() for name, place in self.places.items()}
        description = "Students distilled by medkd"
        super().__init__(app_dir, studies, conf, name="medkd", description=description, version=medkd.__version__)

    def _names(self) -> list[str]:
        """Of studies that lie in a folder, and of files that were uploaded to a session; those of a PACS are identifiers."""
        store, sessions = getattr(self, "_datastore", None), getattr(self, "_sessions", None)
        names = store.list_images() if store is not None and Path(self.studies).is_dir() else []
        uploads = Path(sessions.store_path).glob("*/*") if sessions is not None else []
        return [*names, *(image_stem(file) for file in uploads if file.name != "meta.info")]

    def server_mode(self, mode: bool) -> None:
        """As the stock app, which calls this in the server's own process when all else is there."""
        super().server_mode(mode)
        if mode:
            guard_server(self.check, self.conf.get("origins", ""))

    def init_datastore(self) -> Any:
        """The stock one, which takes names of studies and no paths, fetches whole series, and names what it stores in a PACS."""
        return guarded(named_corrections(whole_series(super().init_datastore()), self._students))

    def _students(self) -> list[tuple[Any, Any]]:
        """Metadata and labels of what is served."""
        return [(read_metadata(path), self._infers[name].labels) for name, path in self.bundles.items()]

    def init_infers(self) -> dict[str, Any]:
        """One task per bundle; one with ``slides.yaml`` also takes regions of slides."""
        return {name: self._infer_task(name) for name in self.bundles}

    def _infer_task(self, name: str) -> Any:
        path = self.bundles[name]
        return (TileInferTask if _reads_slides(path) else StudentInferTask)(str(path), self.conf, load_strict=True)

    def init_trainers(self) -> dict[str, Any]:
        """The bundles' own trainings, distillation included; tracked unless the server's settings say otherwise."""
        if strtobool(self.conf.get("skip_trainers", "false")):
            return {}
        tasks = {name: DistillationTrainTask(place, self.conf) for name, place in self.places.items()}
        return {name: task for name, task in tasks.items() if task.is_valid()}

    def info(self) -> Any:
        """As the stock app; what answers a request asks for it first, and so finds the version put in place last."""
        for name, place in self.places.items():
            if place.is_dir() and place.resolve() != self.bundles[name]:
                self._take(name)
        return super().info()

    def _take(self, name: str) -> None:
        """Serve what a model's place leads to now."""
        self.bundles[name] = self.places[name].resolve()
        self._infers[name] = self._infer_task(name)
        self._scoring_methods |= self._scoring(name)
        if name in self._trainers:
            self._trainers[name] = DistillationTrainTask(self.places[name], self.conf)
        _logger.info("Serving %s from %s", name, self.bundles[name])

    def check(self, method: str, request: dict[str, Any]) -> None:
        """Refuse what is not a request's to say; the stock app evaluates it.

        Args:
            method: as for ``check_request``.
            request: as the server has got it.

        Raises:
            HTTPException: with the key, what was expected and what was found.
        """
        tasks = {"train": self._trainers, "scoring": self._scoring_methods}.get(method, {})
        options = {"train": self._trainers, "infer": self._infers, "batch_infer": self._infers}.get(method, {})
        task = options.get(request.get("model"))
        check_request(method, request, offered=task.config() if task else {}, tasks=tasks)

    def infer(self, request: dict[str, Any], datastore: Any = None) -> Any:
        """As the stock app; a DICOM segmentation gets the names and codes of the bundle, whatever the request says."""
        self._check(request)
        self._check_series(request)
        result = super().infer(request, datastore)
        file, info = (result or {}).get("file"), request.get("label_info")
        if isinstance(info, list) and isinstance(file, str) and request.get("model") in self.bundles:
            metadata = read_metadata(self.bundles[request["model"]])
            # The server reads the request's own list after this, and has no other place for them.
            info[:] = segment_attributes(file, metadata, self._infers[request["model"]].labels)
        return result

    def infer_wsi(self, request: dict[str, Any], datastore: Any = None) -> Any:
        """Regions; MONAI Label 0.8.5 chooses among no GPU at all where there is none."""
        self._check(request)
        return super().infer_wsi({"multi_gpu": torch.cuda.device_count() > 1, **request}, datastore)

    def batch_infer(self, request: dict[str, Any], datastore: Any = None) -> Any:
        """As the stock app."""
        self.check("batch_infer", _without_additions(request))
        return super().batch_infer(request, datastore)

    def scoring(self, request: dict[str, Any], datastore: Any = None) -> Any:
        """As the stock app."""
        self.check("scoring", _without_additions(request))
        return super().scoring(request, datastore)

    def train(self, request: dict[str, Any]) -> Any:
        """As the stock app."""
        self.check("train", _without_additions(request))
        return super().train(request)

    def next_sample(self, request: dict[str, Any]) -> Any:
        """As the stock app."""
        self.check("activelearning", request)
        return super().next_sample(request)

    def _check(self, request: dict[str, Any]) -> None:
        self.check("infer", _without_additions(request))
        sessions = self.sessions()
        check_image(request.get("image"), self.datastore(), [self.studies, sessions and sessions.store_path])

    def _check_series(self, request: dict[str, Any]) -> None:
        """What the server makes of a series from a PACS has no gaps: what lay behind one has moved.

        Raises:
            ValueError: for a series that is no sound volume of the bundle's modality.
        """
        image, bundle = request.get("image"), self.bundles.get(str(request.get("model")))
        if not isinstance(image, str) or Path(image).exists() or bundle is None:
            return
        folder = Path(str(self.datastore().get_image_uri(image)).removesuffix(".nii.gz"))
        if folder.is_dir():
            read_series(folder, modality=modality(read_metadata(bundle)))

    def async_scoring(self, method: str | None, params: dict[str, Any] | None = None) -> Any:
        """As the stock app, which adds a task at every request for a study, where none is running: scores are kept."""
        if method is None and not self._server_mode:
            # From a training's own process; asked for one by one, all but the first would be refused.
            return self._local_request("/scoring/", params, "Scoring")
        return {} if method is None and processes("scoring") else super().async_scoring(method, params)

    def init_strategies(self) -> dict[str, Any]:
        """``least_certain``, and the stock ones."""
        return {"least_certain": LeastCertain(self.bundles), "first": First(), "random": Random()}

    def init_scoring_methods(self) -> dict[str, Any]:
        """The entropy of every student; the server runs them in the background, at its start and after trainings."""
        return {key: method for name in self.bundles for key, method in self._scoring(name).items()}

    def _scoring(self, name: str) -> dict[str, Any]:
        return {f"{name}_entropy": EntropyScoring(name, self._infers[name])}


def _places(folder: Path, wanted: str) -> dict[str, Path]:
    """Bundles by name, as links to the versions that are served.

    Raises:
        ValueError: for a wanted bundle that is not there.
    """
    there = {path.name: path for path in sorted(folder.glob("[!.]*")) if (path / "configs").is_dir()}
    names = [name.strip() for name in wanted.split(",") if name.strip()] or list(there)
    missing = [name for name in names if name not in there]
    if missing:
        raise ValueError(
            f"{folder}: expected {', '.join(missing)}, found {', '.join(there) or 'no bundle'}; `medkd deploy` it"
        )
    _logger.info("Serving %s", ", ".join(names) or "no bundle")
    return {name: there[name] for name in names}


def _without_additions(request: dict[str, Any]) -> dict[str, Any]:
    """What came from outside: the server itself adds a task's folder and process."""
    return {key: value for key, value in request.items() if key not in {"bundle_path", "local_rank"}}


def _reads_slides(bundle: Path) -> bool:
    return (bundle / "configs" / "slides.yaml").is_file()
