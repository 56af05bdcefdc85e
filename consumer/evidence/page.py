"""The report as one page of HTML: it has all in it, asks no network for anything, runs no script, and prints well."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from importlib import resources

from .. import __version__
from ..markup import Html, joined, tag
from ..settings.types import format_duration
from .charts import MOST_ROWS, Bar, Share, Stack, bars_chart, days_chart, shares_chart
from .figures import DELAY_STEPS_MS, Figures
from .report import COUNTS, DEFINITIONS, NONE, Report, lasted, percent

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""What a browser may load for this page: nothing."""


def page(report: Report) -> str:
    """The page, a whole document in UTF-8."""
    begin, end = (_moment(at) for at in report.wanted)
    style = (resources.files(__package__) / "page.css").read_text(encoding="utf-8")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("title", f"Offers presented from {begin} to {end}"),
        tag("style", Html(style)),
    )
    body = tag(
        "body",
        tag(
            "header",
            tag("h1", "Offers presented, and what became of them"),
            tag("p", f"Presented from {begin} to {end}, times in UTC", class_="range"),
        ),
        tag("main", *_missing(report), _summary(report.counted.total), *_charts(report), _table(report), *_end(report)),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def _missing(report: Report) -> Iterator[Html]:
    if report.missing:
        yield tag(
            "section",
            tag("h2", "These figures are not complete"),
            tag("ul", *(tag("li", why) for why in report.missing)),
            class_="warning",
        )


def _summary(total: Figures) -> Html:
    low, high = total.interval or (None, None)
    told = [
        ("Presented", f"{total.presented:,}", "offers"),
        ("Bought", f"{total.bought:,}", ""),
        ("Opted out", f"{total.opted_out:,}", "told to the insurer, answered 204"),
        ("Conversion", percent(total.conversion), f"{percent(low)} to {percent(high)}" if total.known else ""),
        ("Still open", f"{total.open:,}", "without an outcome yet"),
        ("Not known", f"{total.dead_lettered + total.released:,}", "dead-lettered or released"),
    ]
    tiles = [
        tag("div", tag("dt", name), tag("dd", tag("b", value), tag("small", words))) for name, value, words in told
    ]
    return tag("dl", *tiles, class_="tiles")


def _charts(report: Report) -> Iterator[Html]:
    counted = report.counted
    shares = [_share(figures) for figures in _largest(counted.groups) if figures.known]
    if shares:
        left_out = len(counted.groups) - MOST_ROWS
        words = "The dot is the share that was bought, the line its 95 % interval."
        if left_out > 0:
            words += f" The {MOST_ROWS} groups with most presentations; {left_out:,} more are in the table."
        yield _figure(f"Conversion by {', '.join(report.by)}", words, shares_chart(shares))
    if counted.calls:
        legend = joined(
            tag("span", "", class_="key first"), "204 ", tag("span", "", class_="key second"), "404: offer not found"
        )
        days = [Stack(day.day, day.recorded, day.not_found) for day in counted.calls]
        yield _figure("Calls to the insurer by day", joined("By the day of the answer. ", legend), days_chart(days))
    if any(counted.delays):
        total = counted.total
        words = f"Half were recorded within {lasted(total.median_ms)}, 99 % within {lasted(total.p99_ms)}."
        yield _figure("Time from the decision to the recorded 204", words, bars_chart(_delays(counted.delays)))


def _figure(title: str, words: str, chart: Html) -> Html:
    return tag("figure", tag("figcaption", tag("h2", title), tag("p", words)), chart)


def _largest(groups: Sequence[Figures]) -> list[Figures]:
    """Those with most presentations, in the order of the table."""
    kept = {id(one) for one in sorted(groups, key=lambda one: one.presented, reverse=True)[:MOST_ROWS]}
    return [one for one in groups if id(one) in kept]


def _share(figures: Figures) -> Share:
    share, (low, high) = figures.conversion or 0.0, figures.interval or (0.0, 0.0)
    return Share(_name(figures.group), share, low, high, f"{percent(share, 1)} of {figures.known:,}")


def _name(group: Sequence[str | None]) -> str:
    return " · ".join(NONE if value is None else value for value in group)


def _delays(delays: Sequence[int]) -> list[Bar]:
    """The bars from the first to the last that is not empty."""
    times = [format_duration(timedelta(milliseconds=step)) for step in DELAY_STEPS_MS]
    names = [
        f"up to {times[0]}",
        *(f"{times[at]} to {times[at + 1]}" for at in range(len(times) - 1)),
        f"over {times[-1]}",
    ]
    filled = [number for number, calls in enumerate(delays) if calls]
    of = sum(delays)
    return [
        Bar(names[at], delays[at], f"{delays[at]:,} ({percent(delays[at] / of, 1)})")
        for at in range(filled[0], filled[-1] + 1)
    ]


def _table(report: Report) -> Html:
    heads = [tag("th", name, scope="col", class_="name") for name in report.by]
    heads += [
        tag("th", heading, scope="col")
        for heading in (*(heading for _, heading in COUNTS), "conversion", "95 % interval", "median to 204", "p99")
    ]
    rows = [_row([NONE if value is None else value for value in one.group], one) for one in report.counted.groups]
    total = _row(["total", *[""] * (len(report.by) - 1)] if report.by else [], report.counted.total)
    table = tag(
        "table",
        tag("caption", "All figures"),
        tag("thead", tag("tr", *heads)),
        tag("tbody", *rows),
        tag("tfoot", total),
    )
    return tag("section", tag("h2", "Figures"), tag("div", table, class_="scrolls", tabindex="0"))


def _row(names: Sequence[str], figures: Figures) -> Html:
    interval = figures.interval
    between = "-" if interval is None else f"{100 * interval[0]:.2f} to {percent(interval[1])}"
    texts = [
        *(f"{getattr(figures, key):,}" for key, _ in COUNTS),
        percent(figures.conversion),
        between,
        lasted(figures.median_ms),
        lasted(figures.p99_ms),
    ]
    return tag(
        "tr", *(tag("th", name, scope="row", class_="name") for name in names), *(tag("td", text) for text in texts)
    )


def _end(report: Report) -> Iterator[Html]:
    if report.notes:
        yield tag("section", tag("h2", "Notes"), tag("ul", *(tag("li", _with_code(note)) for note in report.notes)))
    yield tag("section", tag("h2", "What the figures mean"), _terms(DEFINITIONS), class_="terms")
    outcomes, *inputs = report.origin.topics
    origin = [
        ("Brokers", report.origin.brokers),
        ("Cluster", report.origin.cluster or "the brokers do not tell its id"),
        ("Outcomes", f"{outcomes}, {report.outcomes:,} records read"),
        ("Other topics", f"{', '.join(inputs)}; {report.inputs:,} records read of the inputs, for what is open"),
        ("Made", f"{_moment(report.made_at)} UTC, by offer-opt-out {__version__}"),
    ]
    yield tag("section", tag("h2", "Where they are from"), _terms(origin), class_="terms")


def _with_code(note: str) -> Html:
    """A sentence with what stands between backticks as code."""
    return joined(*(tag("code", piece) if number % 2 else piece for number, piece in enumerate(note.split("`"))))


def _terms(terms: Sequence[tuple[str, str]]) -> Html:
    return tag("dl", *(joined(tag("dt", name), tag("dd", words)) for name, words in terms))


def _moment(ms: int) -> str:
    moment = datetime.fromtimestamp(ms / 1000, UTC)
    whole = moment.second == 0 and moment.microsecond == 0
    return f"{moment.day} {moment:%B %Y, %H:%M}" if whole else f"{moment.day} {moment:%B %Y, %H:%M:%S}"
