from __future__ import annotations

from collections.abc import Callable

import pytest

from whatssound.cli.demo.audit import EventRow, MessageRow, Rows, TipRow, VoteRow, audit, batch_sizes, stored_twice
from whatssound.cli.demo.ledger import Ballot, Ledger, Payment, QueueFact, Words
from whatssound.cli.demo.meter import Latency
from whatssound.cli.demo.readback import read_event
from whatssound.cli.demo.report import Witnessed, make_report, show_offences


def kept_promises() -> tuple[Ledger, Rows]:
    ledger = Ledger(
        words={"m1": Words("m1", "ana", "hola"), "m2": Words("m2", "ben", "🔥")},
        ballots=[Ballot("ana", "s1", 1, 3), Ballot("ana", "s1", 1, None), Ballot("ana", "s1", -1, 4)],
        payments={
            "t1": Payment("t1", "ana", 500, "EUR", "k1", confirmed=True),
            "t2": Payment("t2", "ben", 100, "EUR", "k2", confirmed=False),
        },
        queue={QueueFact(6, "i1", "finished"), QueueFact(7, "i2", "started")},
    )
    ledger.queue_commands["advance"] = 1
    rows = Rows(
        messages=[MessageRow("m1", "ana", "hola", "700"), MessageRow("m2", "ben", "🔥", "700")],
        votes=[VoteRow("ana", "s1", -1)],
        tips=[
            TipRow("t1", "ana", 500, "EUR", "k1", "confirmed"),
            TipRow("t2", "ben", 100, "EUR", "k2", "pending"),
        ],
        events=[
            EventRow(1, "message", "m1", "ana"),
            EventRow(2, "message", "m2", "ben"),
            EventRow(3, "vote", "s1", "ana", "1"),
            EventRow(4, "vote", "s1", "ana", "-1"),
            EventRow(5, "tip", "t1", "ana"),
            EventRow(6, "queue", "i1", "", "finished"),
            EventRow(7, "queue", "i2", "", "started"),
        ],
    )
    return ledger, rows


def renumber(rows: Rows) -> None:
    rows.events = [
        EventRow(seq, event.kind, event.subject, event.user_id, event.detail)
        for seq, event in enumerate(rows.events, 1)
    ]


def test_kept_promises_are_no_offence() -> None:
    assert audit(*kept_promises()) == []


def test_an_empty_room_is_no_offence() -> None:
    assert audit(Ledger(), Rows()) == []


Break = Callable[[Ledger, Rows], object]


@pytest.mark.parametrize(
    ("what", "story", "spoil"),
    [
        ("chat", "message m1 is missing", lambda _, rows: rows.messages.pop(0)),
        ("chat", "message m1 is there 2 times", lambda _, rows: rows.messages.append(rows.messages[0])),
        (
            "chat",
            "m1 is stored with another",
            lambda _, rows: rows.messages.__setitem__(0, MessageRow("m1", "ana", "x", "1")),
        ),
        (
            "chat",
            "m1 is stored with another",
            lambda _, rows: rows.messages.__setitem__(0, MessageRow("m1", "eve", "hola", "1")),
        ),
        ("chat", "m1 is stored but was never accepted", lambda ledger, _: ledger.words.pop("m1")),
        (
            "chat",
            "entry of message m1 is there 2",
            lambda _, rows: rows.events.append(EventRow(8, "message", "m1", "ana")),
        ),
        (
            "chat",
            "message m9, which has no row",
            lambda _, rows: rows.events.append(EventRow(8, "message", "m9", "ana")),
        ),
        ("vote", "ana on song s1 is missing", lambda _, rows: rows.votes.clear()),
        ("vote", "ana on song s1 is there 2 times", lambda _, rows: rows.votes.append(rows.votes[0])),
        ("vote", "is 1, accepted was -1", lambda _, rows: rows.votes.__setitem__(0, VoteRow("ana", "s1", 1))),
        ("vote", "ben on song s1 is stored but", lambda _, rows: rows.votes.append(VoteRow("ben", "s1", 1))),
        ("vote", "event 8 counts", lambda _, rows: rows.events.append(EventRow(8, "vote", "s1", "ana", "-1"))),
        ("vote", "told the same event 4", lambda ledger, _: ledger.ballots.append(Ballot("ana", "s1", -1, 4))),
        (
            "vote",
            "event 9 (vote -1 on s1) is missing",
            lambda ledger, _: ledger.ballots.append(Ballot("ana", "s1", -1, 9)),
        ),
        ("tip", "tip t1 is missing", lambda _, rows: rows.tips.pop(0)),
        ("tip", "tip t1 is there 2 times", lambda _, rows: rows.tips.append(rows.tips[0])),
        (
            "tip",
            "key k1 is there 2 times",
            lambda _, rows: rows.tips.append(TipRow("t9", "ana", 500, "EUR", "k1", "pending")),
        ),
        (
            "tip",
            "t1 is stored with another",
            lambda _, rows: rows.tips.__setitem__(0, TipRow("t1", "ana", 5, "EUR", "k1", "confirmed")),
        ),
        (
            "tip",
            "t1 is pending, although",
            lambda _, rows: rows.tips.__setitem__(0, TipRow("t1", "ana", 500, "EUR", "k1", "pending")),
        ),
        ("tip", "t1 is there 2 times", lambda _, rows: rows.events.append(EventRow(8, "tip", "t1", "ana"))),
        ("tip", "tip t1 is stored but", lambda ledger, _: ledger.payments.pop("t1")),
        ("queue", "event 9 (added i3) is missing", lambda ledger, _: ledger.queue.add(QueueFact(9, "i3", "added"))),
        (
            "queue",
            "event 8 (started i2) was never",
            lambda _, rows: rows.events.append(EventRow(8, "queue", "i2", "", "started")),
        ),
        ("log", "not dense", lambda _, rows: rows.events.append(EventRow(9, "session", ""))),
        ("log", "not dense", lambda _, rows: rows.events.append(EventRow(7, "session", ""))),
    ],
)
def test_a_broken_promise_is_found(what: str, story: str, spoil: Break) -> None:
    ledger, rows = kept_promises()
    spoil(ledger, rows)
    offences = audit(ledger, rows)
    assert any(offence.what == what and story in offence.story for offence in offences), offences


def test_an_entry_lost_from_the_log_is_found_for_every_kind() -> None:
    for lost in range(7):
        ledger, rows = kept_promises()
        gone = rows.events.pop(lost)
        expected = {"message": "chat"}.get(gone.kind, gone.kind)
        assert expected in {offence.what for offence in audit(ledger, rows)}, gone


def test_to_take_back_what_was_never_cast_needs_no_row() -> None:
    assert audit(Ledger(ballots=[Ballot("ana", "s1", 0, None)]), Rows()) == []


def test_what_nobody_knows_may_be_stored_or_not_but_not_twice() -> None:
    ledger, rows = kept_promises()
    ledger.words.pop("m2")
    ledger.doubtful_words.add("m2")
    assert audit(ledger, rows) == []
    rows.messages.append(rows.messages[1])
    assert any("more than once" in offence.story for offence in audit(ledger, rows))
    rows.messages = rows.messages[:1]
    rows.events.pop(1)
    ledger.ballots.clear()
    ledger.doubtful_ballots.add(("ana", "s1"))
    ledger.payments.pop("t2")
    ledger.doubtful_payments.add("ben")
    ledger.queue.clear()
    ledger.doubtful_queue = 1
    renumber(rows)
    assert audit(ledger, rows) == []


def test_batches_are_the_transactions_that_stored_them() -> None:
    rows = Rows(messages=[MessageRow(str(at), "ana", "x", str(at // 3)) for at in range(7)])
    assert sorted(batch_sizes(rows)) == [1, 3, 3]


def test_stored_twice_counts_rows_and_entries() -> None:
    _, rows = kept_promises()
    assert stored_twice(rows) == 0
    rows.messages.append(rows.messages[0])
    rows.events.append(EventRow(8, "message", "m2", "ben"))
    assert stored_twice(rows) == 2


def witnessed(*, seen_least: int = 2, repeats: int = 0) -> Witnessed:
    return Witnessed(
        people=3,
        sent=2,
        seen_least=seen_least,
        repeats=repeats,
        withdrawn=0,
        latency=Latency(4, 0.01, 0.02, 0.5),
        rpc_retries=1,
        rpc_errors=0,
        reconnects=0,
        seconds=5.0,
    )


def test_a_report_of_kept_promises_passes() -> None:
    report = make_report(witnessed(), *kept_promises())
    assert report.passed
    assert report.as_json()["passed"] is True
    lines = dict(report.lines())
    assert lines["stored twice"] == "0"
    assert "1 confirmed: 5.00 EUR" in lines["tips"]
    assert "1 advance" in lines["queue changes"]
    assert "exactly once" in report.verdict()


def test_a_message_that_somebody_did_not_see_fails_the_report() -> None:
    report = make_report(witnessed(seen_least=1), *kept_promises())
    assert not report.passed
    assert "saw only 1 of 2" in str(report.offences[0])


def test_a_message_shown_twice_fails_the_report() -> None:
    assert not make_report(witnessed(repeats=1), *kept_promises()).passed


def test_many_offences_are_told_in_short() -> None:
    ledger, rows = kept_promises()
    ledger.words.update({str(at): Words(str(at), "ana", "x") for at in range(100)})
    report = make_report(witnessed(), ledger, rows)
    shown = show_offences(report.offences, most=10)
    assert len(shown) == 11
    assert shown[-1] == f"… and {len(report.offences) - 10} more"


@pytest.mark.parametrize(
    ("kind", "payload", "event"),
    [
        ("message", '{"id": "m", "user_id": "u"}', EventRow(1, "message", "m", "u")),
        ("vote", '{"song_id": "s", "user_id": "u", "value": -1}', EventRow(1, "vote", "s", "u", "-1")),
        ("tip", '{"tip": {"id": "t", "tipper_id": "u"}}', EventRow(1, "tip", "t", "u")),
        ("queue", '{"action": "moved", "item": {"id": "i"}}', EventRow(1, "queue", "i", "", "moved")),
        ("member", '{"action": "role"}', EventRow(1, "member", "")),
    ],
)
def test_the_log_is_read_as_what_it_is_about(kind: str, payload: str, event: EventRow) -> None:
    assert read_event(1, kind, payload) == event
