"""Leaving is told once it is certain, and not at all of those who come back."""

from __future__ import annotations

from whatssound.core.absences import Absences
from whatssound.models import Presence, UserId

ANA = Presence(user_id=UserId("ana"))
BEN = Presence(user_id=UserId("ben"))


def test_who_stays_away_has_left_once() -> None:
    absences = Absences(5.0)
    absences.gone(ANA, 10.0)
    absences.gone(BEN, 12.0)
    assert absences.next_at() == 15.0
    assert absences.left(14.9) == []
    assert absences.left(15.0) == [ANA]
    assert absences.left(15.0) == []
    assert absences.next_at() == 17.0
    assert absences.left(99.0) == [BEN]
    assert absences.next_at() is None


def test_who_is_back_was_never_away() -> None:
    absences = Absences(5.0)
    assert not absences.back(ANA.user_id)
    absences.gone(ANA, 10.0)
    assert absences.back(ANA.user_id)
    assert not absences.back(ANA.user_id)
    assert absences.left(99.0) == []


def test_going_again_starts_the_time_again() -> None:
    absences = Absences(5.0)
    absences.gone(ANA, 10.0)
    absences.gone(ANA, 14.0)
    assert absences.left(15.0) == []
    assert absences.left(19.0) == [ANA]


def test_no_grace_means_at_once() -> None:
    absences = Absences(0.0)
    absences.gone(ANA, 10.0)
    assert absences.left(10.0) == [ANA]
