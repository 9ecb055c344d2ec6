"""Questions that are open, each shown once."""

from __future__ import annotations

from actors.delivery.questions import Questions
from actors.events.items import AskClosed
from actors.protocol import server_messages
from actors.protocol.server_messages import Question


def ask(id_: str) -> server_messages.Ask[Question]:
    """A question, as the server tells it."""
    event = Question(event_id=id_, type="ask", payload={}, thread_id="t", run_id="r", timestamp=0.0)
    return server_messages.Ask(event, timeout_s=5.0)


def test_a_question_is_shown_once() -> None:
    """Told again, on the same connection or another, it is known; closed, it may be asked anew."""
    questions = Questions()
    shown = questions.ask(ask("a"))
    assert shown is not None
    assert (shown.id, shown.timeout_s) == ("a", 5.0)
    questions.begin()
    assert questions.ask(ask("a")) is None
    assert questions.close(server_messages.AskClosed("a", "answered")) == AskClosed("a", "answered")
    assert questions.close(server_messages.AskClosed("a", "answered")) is None
    assert questions.ask(ask("a")) is not None


def test_a_question_that_does_not_come_again_is_gone() -> None:
    """With the pong to the ping after ``caught_up`` all that is open has come again; the rest was closed meanwhile."""
    questions = Questions()
    for id_ in ("a", "b"):
        questions.ask(ask(id_))
    questions.begin()
    assert questions.caught_up()
    questions.ask(ask("b"))
    assert questions.pong() == [AskClosed("a", "gone")]
    assert questions.pong() == []


def test_without_a_question_no_ping_is_needed() -> None:
    """Nothing that was open can be missing."""
    questions = Questions()
    questions.begin()
    assert not questions.caught_up()
    questions.ask(ask("a"))
    assert questions.pong() == [], "it came after the log"
