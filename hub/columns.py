"""What the tables of the store are declared with: their common metadata, and columns that may not be null."""

from typing import Any

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(column_0_N_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def text(name: str, *more: Any, **options: Any) -> "sa.Column[str]":
    """Text of any length."""
    return sa.Column(name, sa.Text, *more, nullable=options.pop("nullable", False), **options)


def number(name: str, *more: Any, **options: Any) -> "sa.Column[int]":
    """A whole number of 64 bits."""
    return sa.Column(name, sa.BigInteger, *more, nullable=options.pop("nullable", False), **options)


def json(name: str, nullable: bool = False) -> "sa.Column[Any]":
    """JSON, where Python's None is a null of the database."""
    return sa.Column(name, sa.JSON(none_as_null=True), nullable=nullable)


def sealed(name: str, nullable: bool = False) -> "sa.Column[bytes]":
    """Bytes that were sealed before they came here."""
    return sa.Column(name, sa.LargeBinary, nullable=nullable)
