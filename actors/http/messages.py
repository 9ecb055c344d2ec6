"""Messages over HTTP: what a user said somewhere else, said here for the user by a program."""

from __future__ import annotations

from starlette.responses import Response

from actors.http.calls import Call, answer
from actors.http.schemas import NewMessage, SentAnswer


async def send(call: Call) -> Response:
    """Place a user's message, once for each ``id``, and start the run that answers it."""
    new: NewMessage = call.body
    thread_id = call.thread_id
    call.check_user(new.user_id)
    sent = await call.runtime.thread(thread_id).send(
        new.payload,
        user_id=new.user_id,
        message_id=new.id,
        run_id=new.run_id,
        type=new.type,
        traceparent=call.traceparent,
    )
    return answer(
        SentAnswer(
            thread_id=sent.thread_id,
            event_id=sent.event_id,
            run_id=sent.run_id,
            seq=sent.seq,
            offset=sent.offset,
            epoch=sent.epoch,
        )
    )
