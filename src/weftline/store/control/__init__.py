"""The control database: people, keys, incidents, jobs and published versions. SQLite by default, PostgreSQL by URL."""

from weftline.store.control.database import Control, ControlVersionError

__all__ = ["Control", "ControlVersionError"]
