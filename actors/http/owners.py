"""Owners over HTTP: whose a thread is, and shall be."""

from __future__ import annotations

from starlette.responses import Response

from actors.http.calls import Call, answer
from actors.http.problems import Problem
from actors.http.schemas import OwnerAnswer


async def get_owner(call: Call) -> Response:
    """Say whose a thread is."""
    thread_id = call.thread_id
    owner = await call.owner(thread_id)
    if owner is None:
        raise Problem("unknown_thread", "there is no such thread, or no user owns it")
    return answer(OwnerAnswer(thread_id=thread_id, owner=owner))


async def put_owner(call: Call) -> Response:
    """Bind a thread to a user; with ``force``, take it from another one."""
    thread_id, user_id = call.thread_id, call.body.user_id
    call.check_user(user_id)
    if not call.query.force:
        await call.runtime.bind(thread_id, user_id)
    else:
        await _check_former(call, thread_id)
        await call.runtime.rebind(thread_id, user_id)
    return answer(OwnerAnswer(thread_id=thread_id, owner=user_id))


async def delete_owner(call: Call) -> Response:
    """Leave a thread without an owner; its events are held from now on."""
    thread_id = call.thread_id
    await _check_former(call, thread_id)
    await call.runtime.unbind(thread_id)
    return answer(OwnerAnswer(thread_id=thread_id, owner=None))


async def _check_former(call: Call, thread_id: str) -> None:
    """Raise Problem unless the key reaches the user who is to lose a thread, if there is one."""
    owner = await call.runtime.tree.store.owner(thread_id)
    if owner is not None:
        call.check_user(owner)
