"""The README's table of settings is the settings."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

from consumer.duration import format_duration
from consumer.settings import Settings

README = Path(__file__).parents[2] / "README.md"


def shown(default: object) -> str:
    if default in (None, "", (), {}):
        return ""
    return f"`{format_duration(default) if isinstance(default, timedelta) else default}`"


def test_the_table_of_settings_names_every_setting_with_its_default() -> None:
    rows = re.findall(r"^\| `(\w+\.\w+)` \| (\S*) ?\|", README.read_text(encoding="utf-8"), re.MULTILINE)
    expected = [
        (f"{group}.{name}", shown(setting.get_default(call_default_factory=True)))
        for group, fields in Settings.model_fields.items()
        for name, setting in fields.annotation.model_fields.items()  # type: ignore[union-attr]
    ]
    assert rows == expected
