"""The page at `/`: whether it is well; if not what waits, why, since when, what to do; then all there is to know."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .. import __version__
from ..markup import Html, joined, tag
from ..snapshot import PartnerSnapshot, Snapshot, TaskSnapshot
from .chart import MinuteColumn, hatching, minutes_chart
from .frame import whole
from .history import MINUTE
from .problem import Problem, Urgency
from .status import Status, Verdict, delay
from .words import clock, counted, iso, listed, span

MOST_ROWS = 100
"""Rows of a table; what is more is in `/status`."""

_NONE = "-"

_TITLES = {Verdict.WELL: "All is well", Verdict.WAITING: "Waiting, and goes on by itself"}

_SIGNS = {Verdict.WELL: "✓", Verdict.WAITING: "…", Verdict.TROUBLE: "!"}


def status_page(status: Status) -> str:
    """The whole document."""
    snapshot = status.snapshot
    main = tag(
        "main",
        _verdict(status),
        *_problems(status),
        *([] if snapshot is None else _of_the_run(snapshot, status)),
    )
    return whole(
        f"{_headline(status)} · offer-opt-out",
        hatching(),
        tag("p", "", id="stale", class_="stale", role="status", hidden="hidden"),
        main,
        _footer(),
        icon=status.verdict.value,
        refreshes=True,
    )


def _footer() -> Html:
    links = [
        ("manual/", "Manual"),
        ("manual/runbook", "Runbook"),
        ("status", "The same as JSON"),
        ("metrics", "Metrics"),
    ]
    return tag(
        "footer",
        joined(*(joined(tag("a", words, href=href), " · ") for href, words in links)),
        f"offer-opt-out {__version__} · this page changes nothing",
    )


# -- is it well ------------------------------------------------------------------------------------------------------


def _headline(status: Status) -> str:
    if status.verdict is not Verdict.TROUBLE:
        return _TITLES[status.verdict]
    number = sum(problem.urgency is not Urgency.NOT_URGENT for problem in status.problems)
    return f"{counted(number, 'problem')} to look at"


def _verdict(status: Status) -> Html:
    return tag(
        "header",
        tag("span", _SIGNS[status.verdict], class_="sign", aria_hidden="true"),
        tag(
            "div",
            tag("h1", _headline(status)),
            tag("p", *_summary(status), class_="summary"),
            tag("p", *_who(status), class_="who"),
        ),
        class_=f"verdict {status.verdict.value}",
    )


def _summary(status: Status) -> Iterator[str]:
    snapshot = status.snapshot
    if snapshot is None:
        yield f"The loop has not turned yet. {_sentence(status.pulse.ready.reason)}"
        return
    if not snapshot.tasks:
        yield _sentence(status.pulse.ready.reason)
        return
    running = tuple(task.partition for task in snapshot.tasks if task.phase == "running")
    behind = [found for task in snapshot.tasks if (found := delay(task, status.at)) is not None]
    yield f"{listed(running).capitalize()} running" if running else "No partition is running"
    if behind:
        yield f"; watermark {span(max(behind))} behind"
    unsettled = sum(task.unsettled for task in snapshot.tasks)
    yield f"; {counted(unsettled, 'offer')} decided and not settled."


def _who(status: Status) -> Iterator[Html | str]:
    snapshot = status.snapshot
    yield _time(status.at, status.at, seconds=True)
    yield " UTC"
    if snapshot is not None:
        yield f" · instance {snapshot.instance} of group {snapshot.group}, this one alone"
        yield f" · up for {span((status.at - snapshot.started_at) / 1000)}"


def _problems(status: Status) -> Iterator[Html]:
    if status.problems:
        yield tag(
            "section",
            tag("h2", "What waits"),
            tag("ol", *(_problem(problem, status.at) for problem in status.problems), class_="problems"),
        )


def _problem(problem: Problem, now: int) -> Html:
    since = [] if problem.since is None else [f"for {span((now - problem.since) / 1000)} · "]
    words = problem.entry.replace("-", " ").capitalize()
    return tag(
        "li",
        tag("span", problem.urgency.value, class_="urgency"),
        tag(
            "div",
            tag("p", _sentence(problem.sentence), class_="sentence"),
            tag("p", *since, "what to do: ", tag("a", words, href=f"manual/runbook#{problem.entry}"), class_="do"),
        ),
        class_=problem.urgency.name.lower().replace("_", "-"),
    )


# -- the run ---------------------------------------------------------------------------------------------------------


def _of_the_run(snapshot: Snapshot, status: Status) -> Iterator[Html]:
    now = status.at
    if snapshot.tasks:
        rows = [_task(task, now) for task in snapshot.tasks[:MOST_ROWS]]
        heads = ["Partition", "Phase", "Watermark", "Delay", "Held back by", "Open", "Unsettled"]
        heads += ["Committed", "To read"]
        yield _table("Tasks", heads, rows, len(snapshot.tasks), numbers={3, 5, 6, 7, 8})
    if snapshot.partners:
        partners = [_partner(partner, status) for partner in snapshot.partners[:MOST_ROWS]]
        heads = ["Partner", "State", "Answers", "Calls a second", "Breaker", "Waiting", "In flight"]
        note = _rates(snapshot, status)
        yield _table("Partners", heads, partners, len(snapshot.partners), numbers={3, 5, 6}, note=note)
    yield from _last(snapshot, status)
    yield _hour(snapshot, status)


def _task(task: TaskSnapshot, now: int) -> list[Html | str]:
    behind = delay(task, now)
    held: Html | str = _NONE
    if task.held_back is not None:
        since = f" since {clock(task.held_back.since, now)}"
        held = joined(f"{task.held_back.side}: {task.held_back.cause.replace('_', ' ')}", tag("small", since))
    due = f"{task.unsettled:,}"
    oldest = task.oldest_unsettled
    unsettled: Html | str = due
    if oldest is not None and now - oldest.due_at >= MINUTE:
        unsettled = joined(due, tag("small", f" oldest due {span((now - oldest.due_at) / 1000)} ago"))
    return [
        f"{task.partition}",
        tag("span", task.phase, class_=f"phase {task.phase}"),
        _NONE if task.watermark is None else _time(task.watermark, now, seconds=True),
        _NONE if behind is None else span(behind),
        held,
        f"{task.open_presentations:,}",
        unsettled,
        _both(task.offers.committed, task.checkouts.committed),
        _both(task.offers.lag, task.checkouts.lag),
    ]


def _both(offers: int | None, checkouts: int | None) -> Html:
    """A number of each input."""
    return joined(
        *(
            tag("span", tag("small", f"{side} "), _NONE if value is None else f"{value:,}", class_="side")
            for side, value in (("offers", offers), ("checkouts", checkouts))
        )
    )


def _partner(partner: PartnerSnapshot, status: Status) -> list[Html | str]:
    answers = " · ".join(
        f"{'no answer' if code == 'none' else code}: {count:,}"
        for code, count in sorted(partner.answered.items(), key=lambda one: (one[0] != "204", one[0]))
    )
    rate = status.hour.rates.get(partner.code)
    since = ""
    if partner.stopped_since is not None:
        since = f" since {clock(partner.stopped_since, status.at)}"
    state: Html | str = joined(partner.words, tag("small", since)) if since else partner.words
    if partner.last_note:
        state = joined(state, tag("small", f" “{partner.last_note}”"))
    return [
        partner.code,
        tag("span", state, class_="stopped" if partner.stopped_by else ""),
        answers or _NONE,
        _NONE if rate is None else f"{rate:,.1f}",
        "open" if "breaker" in partner.stopped_by else "closed",
        f"{partner.unsettled:,}",
        f"{partner.in_flight:,}",
    ]


def _rates(snapshot: Snapshot, status: Status) -> str:
    """Calls of all partners against what may be made with a credential, which several of them may share."""
    limits = sorted({partner.rate_limit for partner in snapshot.partners if partner.rate_limit is not None})
    together = ""
    if status.hour.rates:
        together = f"All partners together: {sum(status.hour.rates.values()):,.1f} calls a second. "
    if not limits:
        return together
    most = " or ".join(f"{limit:,.3g}" for limit in limits)
    return f"{together}This instance makes at most {most} a second with a credential, for all partners that share it. "


# -- what was last ---------------------------------------------------------------------------------------------------


def _last(snapshot: Snapshot, status: Status) -> Iterator[Html]:
    now, ids = status.at, status.shows_ids
    hidden = joined(
        "Ids of offers and sessions, and what others wrote, are not shown: ",
        tag("code", "server.show_ids"),
        " is false. ",
    )
    outcomes = [
        [
            _time(one.settled_at, now, seconds=True),
            one.outcome,
            one.reason,
            _NONE if one.status_code is None else str(one.status_code),
            one.partner_code,
            f"{one.partition}:{one.offset:,}",
            *([one.offer_id, one.session_id, one.note or _NONE] if ids else []),
        ]
        for one in snapshot.outcomes[:MOST_ROWS]
    ]
    heads = ["Settled", "Outcome", "Reason", "Answer", "Partner", "Offer at"]
    heads += ["Offer", "Session", "Note"] if ids else []
    how = joined(
        "“Offer at” is partition and offset of its presentation. ",
        tag("code", "opt-out explain OFFER_ID"),
        " tells the life of one offer. ",
        *([] if ids else [hidden]),
    )
    if outcomes:
        yield _table("Last outcomes", heads, outcomes, len(outcomes), numbers={3}, note=how)
    letters = [
        [
            _time(one.written_at, now, seconds=True),
            one.reason,
            one.topic,
            f"{one.partition}:{one.offset:,}",
            *([one.error or _NONE] if ids else []),
        ]
        for one in snapshot.dead_letters[:MOST_ROWS]
    ]
    heads = ["Written", "Reason", "Topic", "Record at", *(["Error"] if ids else [])]
    how = joined(
        tag("code", "opt-out dead-letters"),
        " lists them with what is wrong with each. ",
        *([] if ids or outcomes else [hidden]),
    )
    if letters:
        yield _table("Last dead letters", heads, letters, len(letters), numbers=set(), note=how)


def _hour(snapshot: Snapshot, status: Status) -> Html:
    minutes = status.hour.minutes
    end = minutes[-1].begin if minutes else status.at // MINUTE * MINUTE
    answered, failed = sum(one.answered for one in minutes), sum(one.failed for one in minutes)
    decided = sum(one.decided for one in minutes)
    calls = [
        MinuteColumn(
            one.begin,
            one.answered,
            one.failed,
            f"{clock(one.begin, status.at)}: {one.answered:,} answered 204 or 404, {one.failed:,} otherwise",
        )
        for one in minutes
    ]
    decisions = [
        MinuteColumn(one.begin, one.decided, 0, f"{clock(one.begin, status.at)}: {one.decided:,} decided")
        for one in minutes
    ]
    top = max((one.answered + one.failed for one in minutes), default=0)
    key = joined(
        tag("span", "", class_="key first"),
        f"{answered:,} answered 204 or 404 ",
        tag("span", "", class_="key second"),
        f"{failed:,} answered otherwise or not at all",
    )
    most = max((one.decided for one in minutes), default=0)
    words = f"{counted(answered + failed, 'call')} in the last hour, {failed:,} of them failed"
    return tag(
        "section",
        tag("h2", "The last hour"),
        tag(
            "div",
            _figure("Calls a minute", f"at most {top:,}", key, minutes_chart(calls, end, words), end, status.at),
            _figure(
                "Decisions a minute",
                f"at most {most:,}",
                joined(tag("span", "", class_="key first"), f"{decided:,} offers decided"),
                minutes_chart(decisions, end, f"{decided:,} offers decided in the last hour"),
                end,
                status.at,
            ),
            class_="charts",
        ),
        _since_the_start(snapshot),
    )


def _figure(title: str, most: str, key: Html, chart: Html, end: int, now: int) -> Html:
    begin = end - 59 * MINUTE
    ends = tag("div", tag("span", clock(begin, now)), tag("span", clock(end, now)), class_="axis")
    head = tag("div", tag("h3", title), tag("span", most, class_="most"), class_="head")
    return tag("figure", head, chart, ends, tag("figcaption", key))


def _since_the_start(snapshot: Snapshot) -> Html:
    counts = snapshot.counts
    facts = [
        f"{counted(sum(counts.records.values()), 'record')} applied",
        *(f"{count:,} {outcome.value}" for outcome, count in counts.outcomes.items() if count),
        f"{counted(snapshot.calls.retried, 'retry').replace('retrys', 'retries')}",
        *([f"{counted(counts.repeats_skipped, 'call')} not repeated after a start"] if counts.repeats_skipped else []),
    ]
    bought = counts.purchases_after_opt_out
    more: list[Html | str] = []
    if bought:
        link = tag("a", "bought after the insurer was told", href="manual/runbook#purchase-after-opt-out")
        more = [" · ", joined(f"{bought:,} ", link)]
    return tag("p", "Since the start: ", " · ".join(facts), *more, class_="note")


# -- pieces ----------------------------------------------------------------------------------------------------------


def _table(
    title: str,
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    of: int,
    *,
    numbers: set[int],
    note: Html | str = "",
) -> Html:
    def cell(number: int, content: str) -> Html:
        classes = ("number" if number in numbers else "text") + (" none" if content == _NONE else "")
        if number == 0:
            return tag("th", content, scope="row", class_=classes, data_label=heads[number])
        return tag("td", content, class_=classes, data_label=heads[number])

    head = tag(
        "tr",
        *(
            tag("th", words, scope="col", class_="number" if number in numbers else "text")
            for number, words in enumerate(heads)
        ),
    )
    body = [tag("tr", *(cell(number, content) for number, content in enumerate(row))) for row in rows]
    left_out = f"{of - len(rows):,} more are in the JSON. " if of > len(rows) else ""
    notes = [tag("p", left_out, note, class_="note")] if left_out or note else []
    return tag("section", tag("h2", title), tag("table", tag("thead", head), tag("tbody", *body)), *notes)


def _time(ms: int, now: int, *, seconds: bool = False) -> Html:
    return tag("time", clock(ms, now, seconds=seconds), datetime=iso(ms) or "")


def _sentence(words: str) -> str:
    text = words[:1].upper() + words[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."
