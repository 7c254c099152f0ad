"""A bundle: where it comes from, what stands in it, what its student was trained with, and its inference on one image."""

from medkd.bundle.freezing import freeze, unfrozen
from medkd.bundle.inference import infer
from medkd.bundle.parts import with_configs
from medkd.bundle.reading import Bundle, modality, read_bundle, read_metadata
from medkd.bundle.runtimes import load_student, student_network
from medkd.bundle.settings import adopt_student, student_settings
from medkd.library import bundle_names, bundle_path, copy_bundle
from medkd.networks.checkpoints import run_of

__all__ = [
    "Bundle",
    "adopt_student",
    "bundle_names",
    "bundle_path",
    "copy_bundle",
    "freeze",
    "infer",
    "load_student",
    "modality",
    "read_bundle",
    "read_metadata",
    "run_of",
    "student_network",
    "student_settings",
    "unfrozen",
    "with_configs",
]
