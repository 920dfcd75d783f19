"""Writes `docs/connectors/fields.md` anew: `python -m examples.profiles`."""

from pathlib import Path

from consent import default_policy
from examples.profiles.reach import page

PAGE = Path(__file__).parents[2] / "docs" / "connectors" / "fields.md"

if __name__ == "__main__":
    PAGE.write_text(page(default_policy()), encoding="utf-8")
