"""A bundle: where it comes from, what stands in it, and its inference on one image."""

from medkd.bundle.inference import infer
from medkd.bundle.library import bundle_names, bundle_path, copy_bundle
from medkd.bundle.reading import Bundle, modality, read_bundle, read_metadata

__all__ = ["Bundle", "bundle_names", "bundle_path", "copy_bundle", "infer", "modality", "read_bundle", "read_metadata"]
