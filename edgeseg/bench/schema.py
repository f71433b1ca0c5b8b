"""The JSON Schema of a benchmark's record: `python -m edgeseg.bench.schema` writes it into `schema/`."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgeseg.bench.record import SCHEMA, Record
from edgeseg.files import write_bytes

__all__ = ["record_schema"]


def record_schema() -> bytes:
    """The schema (2020-12) as text; it changes with the version alone."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(Record)}
    return msgspec.json.format(msgspec.json.encode(schema, order="deterministic"), indent=2) + b"\n"


if __name__ == "__main__":
    write_bytes(Path("schema") / f"{SCHEMA.replace('/', '-').removeprefix('edgeseg.')}.json", record_schema())
