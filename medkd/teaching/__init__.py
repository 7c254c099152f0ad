"""A teacher's predictions as files: any bundle or exported network over a datalist."""

from medkd.teaching.configured import ConfiguredTeacher, load_teacher
from medkd.teaching.teach import TeachReport, teach

__all__ = ["ConfiguredTeacher", "TeachReport", "load_teacher", "teach"]
