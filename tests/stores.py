"""MLflow's tables without the second that their migrations take in every new file: once made, they are copied.

What is copied is what MLflow makes. Programs that the tests start cold go the whole way.
"""

import contextlib
import os
import sqlite3
from pathlib import Path

import mlflow.store.db.utils as stores
import sqlalchemy

_make = stores._initialize_tables


def _copy(engine: sqlalchemy.engine.Engine) -> None:
    if engine.dialect.name != "sqlite" or not stores._is_empty_database(engine):
        _make(engine)
        return
    made = Path(os.environ["MEDKD_CACHE"]) / "mlflow.db"
    if not made.is_file():
        own = made.with_name(f"{os.getpid()}.db")
        _make(sqlalchemy.create_engine(f"sqlite:///{own}"))
        own.replace(made)
    with contextlib.closing(sqlite3.connect(made)) as source, contextlib.closing(engine.raw_connection()) as target:
        assert isinstance(target.driver_connection, sqlite3.Connection)
        source.backup(target.driver_connection)


def copy_tables() -> None:
    """From now on, in this process and those that it forks."""
    stores._initialize_tables = _copy
