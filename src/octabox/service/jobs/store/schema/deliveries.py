"""Webhooks in the database, until they are delivered; each function is a part of a transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, delete, func, insert, not_, or_, select, update

from octabox.service.jobs.record import Delivery, Notices
from octabox.service.jobs.store.schema.tables import deliveries, jobs


def lock_batch(connection: Connection, notices: Notices) -> None:
    """Let other servers that end jobs of the same batch wait, so that one of them is the last; to be called before the end."""
    members = select(jobs.c.id).where(jobs.c.batch == notices.batch_id).order_by(jobs.c.number)
    if notices.batch_id:
        connection.execute(members.limit(1).with_for_update()).all()


def add_notices(connection: Connection, notices: Notices) -> None:
    """Add the webhooks of a job that has ended: its own one, and if all jobs of its batch have, one for each of their URLs."""
    if notices.job:
        add_delivery(connection, notices.job)
    if not notices.batch_id:
        return
    batch = jobs.c.batch == notices.batch_id
    if connection.execute(select(jobs.c.id).where(batch, jobs.c.ended.is_(None)).limit(1)).first() is None:
        urls = select(jobs.c.webhook).where(batch, jobs.c.webhook.is_not(None)).group_by(jobs.c.webhook)
        by_status = select(jobs.c.status, func.count()).where(batch).group_by(jobs.c.status)
        counts = {row[0]: row[1] for row in connection.execute(by_status)}
        for url in connection.execute(urls.order_by(func.min(jobs.c.number))).scalars().all():
            add_delivery(connection, notices.batch(url, counts))


def due_deliveries(
    connection: Connection, limit: int, now: float, pause: float, sending: Mapping[str, int], per_origin: int
) -> tuple[list[Delivery], float | None]:
    """Return the webhooks to send, those that are due first at the front; other servers do not send them meanwhile.

    Args:
        connection: The connection.
        limit: How many at most.
        now: The time in seconds since the epoch.
        pause: Seconds after which they are sent again, if this server ends before it has sent them.
        sending: How many this server is sending, by their origins.
        per_origin: How many it sends at most to an origin, so that one that does not answer lets others wait no longer.

    Returns:
        The webhooks, and when the next one is due.
    """
    counts, tried, taken = Counter(sending), set[str](), list[Delivery]()
    due = (
        select(deliveries.c.id, deliveries.c.url).where(deliveries.c.due <= now).order_by(deliveries.c.due).limit(limit)
    )
    while len(taken) < limit:
        others = (not_(_is_of(origin)) for origin, count in counts.items() if count >= per_origin)
        found = [Delivery(*row, "") for row in connection.execute(due.where(deliveries.c.id.not_in(tried), *others))]
        # Few are locked: another server that looks now skips those that are.
        selected, room = list[str](), counts.copy()
        for each in found[: limit - len(taken)]:
            if room[each.origin] < per_origin:
                room[each.origin] += 1
                selected.append(each.id)
        if not selected:
            break
        new = _lease(connection, selected, now, pause)
        tried.update(selected)
        counts.update(each.origin for each in new)
        taken += new
    later = select(func.min(deliveries.c.due)).where(deliveries.c.due > now)
    return taken, connection.execute(later).scalar()


def _lease(connection: Connection, ids: Sequence[str], now: float, pause: float) -> list[Delivery]:
    """Return those of some webhooks that are due and that no other server is about to send, and let this server have them."""
    free = select(deliveries).where(deliveries.c.id.in_(ids), deliveries.c.due <= now)
    leased = [Delivery(**row) for row in connection.execute(free.with_for_update(skip_locked=True)).mappings()]
    mine = update(deliveries).where(deliveries.c.id.in_([each.id for each in leased]))
    connection.execute(mine.values(due=now + pause))
    return sorted(leased, key=lambda each: ids.index(each.id))


def _is_of(origin: str) -> ColumnElement[bool]:
    """Return the condition of the webhooks of an origin."""
    return or_(deliveries.c.url == origin, deliveries.c.url.startswith(f"{origin}/", autoescape=True))


def add_delivery(connection: Connection, notice: Delivery) -> None:
    """Add a webhook, or change its number of attempts and its time."""
    connection.execute(delete(deliveries).where(deliveries.c.id == notice.id))
    connection.execute(insert(deliveries).values(**vars(notice)))


def remove_delivery(connection: Connection, delivery_id: str) -> None:
    """Delete a webhook."""
    connection.execute(delete(deliveries).where(deliveries.c.id == delivery_id))
