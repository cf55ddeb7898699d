"""Reads a list of Dialpad's, page by page, to its end or to a verdict on why that could not be done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic

import anyio

from dialpad_ivr.dialpad.calls import Request
from dialpad_ivr.dialpad.client import CallError, NoAnswerError, Response
from dialpad_ivr.dialpad.parsing import Item
from dialpad_ivr.dialpad.verdict import Verdict, no_answer_verdict, page_or_verdict

if TYPE_CHECKING:
    from dialpad_ivr.tasks.caller import Caller


@dataclass(frozen=True)
class Listing(Generic[Item]):
    """A list as it was read.

    Attributes:
        items: What was read, all of it unless there is a `refusal`.
        refusal: The verdict on a list that could not be read to its end.
        response: The last response.
    """

    items: list[Item]
    refusal: Verdict | None
    response: Response | None


@dataclass(frozen=True)
class ListCall(Generic[Item]):
    """How a list is read.

    Attributes:
        what: What is listed, for a message.
        prepare: Prepares the call for the page of a cursor; `None`: the first.
        read_item: Reads an item of a page; one that it cannot read (`None`) is left out.
        most_pages: A list of more pages has no end.
        is_last: Whether an item is all that was wanted: no page is read after it.
    """

    what: str
    prepare: Callable[[str | None], Request]
    read_item: Callable[[Any], Item | None]
    most_pages: int
    is_last: Callable[[Item], bool] = lambda _: False


async def read_pages(
    caller: Caller, call: ListCall[Item], seconds: float, *, resend_lost: bool = False
) -> Listing[Item]:
    """Read a list.

    Args:
        caller: Makes the calls.
        call: The list.
        seconds: For all pages together: the engine waits for a result.
        resend_lost: Whether a read that loses its connection is sent once more. What broke the connection of a call
            before has often broken others of the pool, which is noticed when they are used.

    Raises:
        CircuitOpenError: Dialpad does not work.
        PermitDeferredError: The permit is further away than a worker waits.
    """
    items: list[Item] = []
    response: Response | None = None
    cursors: set[str | None] = set()
    cursor: str | None = None
    try:
        with anyio.fail_after(seconds):
            while len(cursors) < call.most_pages and cursor not in cursors:
                cursors.add(cursor)
                request = call.prepare(cursor)
                try:
                    response = await caller.send(request)
                except NoAnswerError as exc:
                    if not resend_lost or exc.code != "connection_lost":
                        raise
                    resend_lost = False
                    response = await caller.send(request)
                page = page_or_verdict(response, caller.profile, call.read_item, call.what)
                if isinstance(page, Verdict):
                    return Listing(items, page, response)
                items += page.items
                cursor = page.cursor
                if cursor is None or any(map(call.is_last, page.items)):
                    return Listing(items, None, response)
    except CallError as exc:
        return Listing(items, no_answer_verdict(exc), response)
    except TimeoutError:
        late = NoAnswerError("deadline", f"The list of {call.what} took more than {seconds:.0f} s.")
        return Listing(items, no_answer_verdict(late), response)
    # What is missing may be on a page that was not read: nothing is concluded from what is not there.
    pages = f"{len(cursors)} page{'s' if len(cursors) > 1 else ''}"
    why = "leads back to a page that was read before" if cursor in cursors else "has not ended"
    message = f"Dialpad's list of {call.what} {why} after {pages}."
    return Listing(items, Verdict("unavailable", "endless_list", message), response)
