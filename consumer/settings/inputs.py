"""The settings of the groups `input.offers` and `input.checkouts`: what the records of a topic look like."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from hashlib import sha256
from typing import ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from ..events import MOST_ELEMENTS
from .expressions import parse_expression
from .types import Group, read_object


class InputSettings(Group):
    """What the records of an input look like, and where in them each field is found."""

    names: ClassVar[tuple[str, ...]]
    """The fields of the event."""
    deciding: ClassVar[tuple[str, ...]]
    """Those by which a fate is decided."""

    format: Literal["avro", "registry", "json"] = Field(
        default="avro", description="Avro as avro.format says, Avro with a schema registry's id, or JSON."
    )
    fields: dict[str, str] = Field(
        default_factory=dict,
        description="Where a field is found, if not by its own name: JMESPath, as JSON or a TOML table.",
    )
    when: str | None = Field(
        default=None, description="JMESPath that is true of the records that count; others are passed over."
    )
    time: Literal["iso8601", "s", "ms", "us"] = Field(
        default="ms", description="How the event's time is written: a text with its zone, or a number since 1970."
    )

    @property
    def maps(self) -> bool:
        """Whether its records have another shape than our schema."""
        return bool(self.fields or self.when or self.time != "ms")

    @property
    def decides(self) -> dict[str, str]:
        """What of all this decides a fate, and is not as it is where nothing is set. Of the registry's Avro the framing
        differs and no more; and a field's own name is where it is found anyway."""
        usual = {"format": "avro", "when": "", "time": "ms"} | {name: name for name in self.deciding}
        given = {"format": "json" if self.format == "json" else "avro", "when": self.when or "", "time": self.time}
        given |= {name: self.fields[name] for name in self.deciding if name in self.fields}
        return {name: text.strip() for name, text in given.items() if text.strip() != usual[name]}

    @property
    def describes(self) -> dict[str, str]:
        """Where the other fields are found, if not by their own names, and whether any field is mapped.

        They decide no fate, but which records can be read: where a price is a text in one record, and is mapped for the
        first time. And a record of a mapped input may lack its event_id.
        """
        others = {name: text.strip() for name, text in self.fields.items() if name not in self.deciding}
        mapped = {"mapped": "yes"} if self.fields else {}
        return mapped | {name: text for name, text in others.items() if text != name}

    @field_validator("fields", mode="before")
    @classmethod
    def _read_fields(cls, given: object) -> object:
        return read_object(given)

    @field_validator("fields")
    @classmethod
    def _are_expressions(cls, fields: Mapping[str, str]) -> Mapping[str, str]:
        for name, text in fields.items():
            if name not in cls.names:
                near = difflib.get_close_matches(name, cls.names, n=1)
                meant = f"did you mean {near[0]}?" if near else f"those there are: {', '.join(cls.names)}"
                raise ValueError(f"{name} is no field of this event; {meant}")
            try:
                parse_expression(text)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return fields

    @field_validator("when")
    @classmethod
    def _is_expression(cls, text: str | None) -> str | None:
        return _of_the_record(text)

    @model_validator(mode="after")
    def _has_a_record_around(self) -> Self:
        if not self.has_elements:
            for name, text in self.fields.items():
                if parse_expression(text).of_record:
                    raise ValueError(f"fields: {name}: $record stands only where input.offers.each is set")
        return self

    @property
    def has_elements(self) -> bool:
        """Whether a record holds a list of presentations."""
        return False


def _of_the_record(text: str | None) -> str | None:
    """An expression that is of the record itself."""
    if text is not None and parse_expression(text).of_record:
        raise ValueError("$record is for the fields; this is of the record itself, so leave it out")
    return text


class OfferInputSettings(InputSettings):
    """The topic of the offers presented."""

    each: str | None = Field(
        default=None,
        description=f"JMESPath that gives a list, at most {MOST_ELEMENTS} long: each element of it is a presentation.",
    )

    @property
    def maps(self) -> bool:
        """Whether its records have another shape than our schema."""
        return super().maps or self.has_elements

    @property
    def has_elements(self) -> bool:
        """Whether a record holds a list of presentations."""
        return self.each is not None

    @field_validator("each")
    @classmethod
    def _gives_a_list(cls, text: str | None) -> str | None:
        return _of_the_record(text)

    names = (
        "event_id",
        "session_id",
        "partner_code",
        "offer_id",
        "presented_at",
        "product_code",
        "country",
        "currency",
        "price",
        "metadata",
    )
    deciding = ("session_id", "partner_code", "offer_id", "presented_at")


class CheckoutInputSettings(InputSettings):
    """The topic of the checkouts completed."""

    names = ("event_id", "session_id", "checkout_id", "completed_at", "purchased_offer_ids", "metadata")
    deciding = ("session_id", "completed_at", "purchased_offer_ids")


class InputsSettings(Group):
    """Both inputs."""

    offers: OfferInputSettings = OfferInputSettings()
    checkouts: CheckoutInputSettings = CheckoutInputSettings()

    @property
    def mapping(self) -> str:
        """A hash of what decides a fate, and one of the rest; empty where nothing is mapped. `each` is hashed by
        itself, see `core.checkpoint.each_of`."""
        decides = self.offers.decides, self.checkouts.decides
        describes = self.offers.describes, self.checkouts.describes
        return f"m{_hash(decides)}.{_hash(describes)}" if any((*decides, *describes)) else ""


def _hash(what: object) -> str:
    return sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:8]
