"""What is counted of many listeners: delivered, lost, repeated, and how long it took."""

from __future__ import annotations

import pytest

from whatssound.cli.bench.sightings import Sightings, Tally


def test_each_thing_is_to_be_seen_by_each_listener_once() -> None:
    sightings = Sightings(3)
    for who in range(3):
        sightings.saw(who, "chat:a", 10.5)
    sightings.saw(0, "chat:b", 12.0)
    sightings.saw(1, "chat:b", 11.0)
    sightings.saw(1, "chat:b", 19.0)
    sightings.saw(2, "vote:7", 11.0)
    sightings.saw(2, "chat:of somebody else", 11.0)
    sent = {"chat:a": 10.0, "chat:b": 10.5, "vote:7": 10.0, "tip:x": 10.0}
    tallies = sightings.tallies(sent)
    chat, votes, tips = tallies["chat"], tallies["vote"], tallies["tip"]
    assert (chat.sent, chat.expected, chat.delivered, chat.lost, chat.repeats) == (2, 6, 5, 1, 1)
    assert sorted(chat.seconds) == [0.5, 0.5, 0.5, 0.5, 1.5]
    assert (votes.expected, votes.delivered, votes.lost) == (3, 1, 2)
    assert (tips.expected, tips.delivered, tips.lost, tips.quantile(0.5)) == (3, 0, 3, 0.0)
    assert sightings.missing(list(sent)) == 1 + 2 + 3
    assert sightings.missing(["chat:a"]) == 0


def test_more_things_than_one_step_of_memory() -> None:
    sightings = Sightings(1)
    sent = {f"chat:{number}": 1.0 for number in range(1000)}
    for key in sent:
        sightings.saw(0, key, 2.0)
    assert sightings.missing(list(sent)) == 0
    assert sightings.tallies(sent)["chat"].delivered == 1000


def test_quantiles_are_of_what_was_delivered() -> None:
    tally = Tally()
    tally.seconds.extend(number / 100 for number in range(100, -1, -1))
    assert [tally.quantile(part) for part in (0, 0.5, 0.95, 0.99, 1)] == [0, 0.5, 0.95, 0.99, 1]


def test_listeners_in_several_processes_add_up() -> None:
    sent = {"chat:a": 1.0}
    one, other = Sightings(2), Sightings(3)
    one.saw(0, "chat:a", 2.0)
    other.saw(2, "chat:a", 4.0)
    other.saw(2, "chat:a", 5.0)
    whole = one.tallies(sent)["chat"]
    whole.add(other.tallies(sent)["chat"])
    assert (whole.sent, whole.expected, whole.delivered, whole.repeats) == (1, 5, 2, 1)
    assert whole.quantile(1) == pytest.approx(3.0)
