"""Holds the schemas against those that were released, in both directions: `make schemas`.

Producers and readers of outcomes are not updated on the day that this service is. So what was written by a released
schema has to be readable by ours, and what is written by ours by each released one. Apache's own checker judges that.
It knows nothing of logical types, of which another one would be read as a wrong time: they have to be the same.

A new release copies `schemas/*.avsc` to `schemas/released/<version>/`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.schema import parse

SCHEMAS = Path(__file__).parents[2] / "schemas"


def problems(folder: Path = SCHEMAS) -> Iterator[str]:
    """What of the schemas in a folder is not compatible with those in its folder `released`, a line each."""
    for released in sorted((folder / "released").glob("*/*.avsc")):
        name = f"{released.name} of {released.parent.name}"
        if not (folder / released.name).is_file():
            yield f"{name} is gone: what was written by it could no longer be read"
            continue
        ours, theirs = (folder / released.name).read_text(encoding="utf-8"), released.read_text(encoding="utf-8")
        for reader, writer, words in (
            (ours, theirs, f"what was written by {name} cannot be read by ours"),
            (theirs, ours, f"what is written by ours cannot be read by {name}"),
        ):
            found = ReaderWriterCompatibilityChecker().get_compatibility(parse(reader), parse(writer))
            if found.compatibility is not SchemaCompatibilityType.compatible:
                places = ", ".join(sorted(found.locations))
                why = ", ".join(sorted(str(kind).rpartition(".")[2] for kind in found.incompatibilities))
                yield f"{words}: {why} at {places} ({'; '.join(sorted(found.messages))})"
        before, now = _logical_types(json.loads(theirs)), _logical_types(json.loads(ours))
        for field in before.keys() & now.keys():
            if before[field] != now[field]:
                yield f"the field {field} is {now[field]}, and in {name} it is {before[field]}"


def _logical_types(record: dict[str, Any]) -> dict[str, str | None]:
    return {
        field["name"]: field["type"].get("logicalType") if isinstance(field["type"], dict) else None
        for field in record["fields"]
    }


def main() -> int:
    """Print what is wrong. Returns the exit code."""
    found = list(problems())
    for problem in found:
        print(problem, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
