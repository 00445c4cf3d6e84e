"""Rows of settings: single JSON values by name."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import delete, insert, select

from weftline.store.control.database import Control
from weftline.store.control.tables import setting

__all__ = ["SettingTable"]


class SettingTable:
    """Read and write settings."""

    def __init__(self, control: Control) -> None:
        self.control = control

    def get(self, name: str, default: Any = None) -> Any:
        """Return a value, or the default."""
        with self.control.read() as connection:
            text = connection.scalar(select(setting.c.value).where(setting.c.name == name))
        return default if text is None else msgspec.json.decode(text)

    def set(self, name: str, value: Any, now: int) -> None:
        """Set a value."""
        with self.control.write() as connection:
            connection.execute(delete(setting).where(setting.c.name == name))
            connection.execute(
                insert(setting).values(name=name, value=msgspec.json.encode(value).decode(), changed=now)
            )
