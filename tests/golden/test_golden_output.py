"""The names of fields in the JSON that commands print. Scripts read them."""

from __future__ import annotations

from pathlib import Path

from golden.nets import hold_json
from support.reports import report

from consumer.checks.positions import COLUMNS, changes_document
from consumer.checks.show import document as checks_document
from consumer.checks.topics import TopicsReport, TopicState, document
from consumer.dead_letters.listing import COUNTS, NEWEST
from consumer.evidence.explaining import COLUMNS as TIMELINE
from consumer.evidence.export import Export
from consumer.evidence.export import document as export_document
from consumer.evidence.reconciling import COLUMNS as EXCEPTIONS
from consumer.evidence.report import document as report_document
from consumer.settings import load
from consumer.settings.table import document as settings_document


def test_the_names_of_fields_in_json() -> None:
    """The values are held by the tests of each command."""
    topics = document(TopicsReport(1, (TopicState("t", 1),), ()))
    shown = {**topics.tables, **settings_document(load(None, {"https_proxy": "http://proxy"})).tables}
    shown |= {**changes_document([]).tables, **checks_document([]).tables}
    shown |= {**report_document(report()).tables, **export_document(Export(Path(), [], [])).tables}
    fields = {name: [column.key for column in table.columns] for name, table in shown.items()}
    fields |= {"dead-letters counts": [one.key for one in COUNTS], "dead-letters newest": [one.key for one in NEWEST]}
    alone = {"positions": COLUMNS, "exceptions": EXCEPTIONS, "timeline": TIMELINE}
    fields |= {name: [column.key for column in columns] for name, columns in alone.items()}
    hold_json("output-fields.json", fields)
