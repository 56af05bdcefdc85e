"""The emulator's answers are a function of the scenario, the offer and the attempt."""

from __future__ import annotations

from collections import Counter

import pytest

from consumer.emulator.scenario import Scenario, ScenarioError


def answers(scenario: Scenario, attempt: int) -> list[str]:
    return [scenario.answer("P", str(offer), attempt) for offer in range(4000)]


def test_a_mix_answers_each_share_of_the_offers_as_it_says() -> None:
    counts = Counter(answers(Scenario.parse("404=10,500=20,hang=5"), 1))
    assert set(counts) == {"204", "404", "500", "hang"}
    assert counts["404"] / 4000 == pytest.approx(0.10, abs=0.02)
    assert counts["500"] / 4000 == pytest.approx(0.20, abs=0.02)
    assert counts["hang"] / 4000 == pytest.approx(0.05, abs=0.02)


def test_in_a_mix_only_an_unknown_offer_stays_so() -> None:
    scenario = Scenario.parse("mixed")
    first, second, third = (answers(scenario, attempt) for attempt in (1, 2, 3))
    assert set(third) == {"204", "404"}
    assert [answer == "404" for answer in first] == [answer == "404" for answer in third]
    assert set(first) == {"204", "404", "500", "429", "hang"}
    assert Counter(first)["204"] < Counter(second)["204"] < Counter(third)["204"]


def test_the_same_seed_gives_the_same_answers_and_another_seed_others() -> None:
    assert answers(Scenario.parse("mixed", 1), 1) == answers(Scenario.parse("mixed", 1), 1)
    assert answers(Scenario.parse("mixed", 1), 1) != answers(Scenario.parse("mixed", 2), 1)


def test_a_scenario_of_one_answer_never_gives_another() -> None:
    for text in ("204", "403", "404-html", "hang", "cut", "204-hang", "204-cut"):
        scenario = Scenario.parse(text)
        assert {scenario.answer("P", "o", attempt) for attempt in (1, 2, 50)} == {text}


def test_a_partner_and_an_offer_may_have_a_scenario_of_their_own() -> None:
    scenario = Scenario.parse("BAD:403; SLOW:hang; P/lost:404; 500=100")
    assert scenario.text == "BAD:403; SLOW:hang; P/lost:404; 500=100"
    assert [scenario.answer(partner, "lost", 1) for partner in ("BAD", "SLOW", "P", "Q")] == [
        "403",
        "hang",
        "404",
        "500",
    ]
    assert scenario.answer("P", "other", 9) == "204"


@pytest.mark.parametrize("text", ["403;204", ":403;204", "BAD:403", "BAD:403;", "BAD:oops;204"])
def test_a_scenario_for_a_partner_names_it_and_says_what_the_others_are_answered(text: str) -> None:
    with pytest.raises(ScenarioError, match=r"PARTNER:SCENARIO|give a status"):
        Scenario.parse(text)


@pytest.mark.parametrize("text", ["", "sometimes", "99", "600", "204=", "204=x", "oops=5", "500=60,404=50", "500=-1"])
def test_what_is_no_scenario_is_refused_with_what_would_be_one(text: str) -> None:
    with pytest.raises(ScenarioError, match=r"give a status|ANSWER=PERCENT|add up to 100"):
        Scenario.parse(text)
