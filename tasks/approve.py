"""A restore waits for somebody who may say yes: a form in the run, filled in by a person."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import uuid4

from prefect import pause_flow_run
from prefect.artifacts import create_markdown_artifact
from prefect.exceptions import FlowPauseTimeout
from prefect.input import RunInput
from pydantic import Field

from qdrant_dr.jobs.restore.plan import RestorePlan
from qdrant_dr.jobs.restore_points.plan import PointsPlan
from qdrant_dr.jobs.run.approval import Approval
from qdrant_dr.jobs.run.run import utc_now
from qdrant_dr.quantities import format_size, how_long
from qdrant_dr.records.run import is_same_person
from tasks.announce import publish
from tasks.render import escape

POLL_SECONDS = 10
"""How often the paused run looks for an answer."""


class RestoreApproval(RunInput):
    """What the approver fills in. The form shows the plan above these fields."""

    approve: bool = Field(default=False, description="yes, do it")
    approved_by: str = Field(default="", description="your name: it goes into the record")
    ticket: str = Field(default="", description="the change or incident this belongs to")


Plan = RestorePlan | PointsPlan


def ask(plans: Sequence[Plan], *, requester: str, ticket: str, timeout: timedelta) -> Approval:
    """Pause the flow run until the form is filled in, or time is up.

    An approval without a name is none. That requester and approver are one is noted, not refused:
    at three in the morning there may be only one.
    """
    asked = question(plans, requester, until=utc_now() + timeout)
    # who was told that a restore waits opens the page of its run: there is the plan
    publish("plan", lambda: create_markdown_artifact(asked, key="qdr-approval"))
    form = RestoreApproval.with_initial_data(
        description=asked, approve=False, approved_by="", ticket=ticket
    )
    try:
        answer = pause_flow_run(
            wait_for_input=form,
            timeout=round(timeout.total_seconds()),
            poll_interval=POLL_SECONDS,
            key=uuid4().hex,  # Prefect gives an old answer to a run that is tried again
        )
    except FlowPauseTimeout:
        return Approval(given=False, reason=f"nobody answered within {how_long(timeout)}")
    assert answer is not None
    who = answer.approved_by.strip()
    if not answer.approve:
        return Approval(given=False, by=who, reason=f"{who or 'somebody'} said no")
    if not who:
        return Approval(given=False, reason="the approval has no name")
    same = is_same_person(requester, who)
    note = f"approved by {who}, who also asked for it" if same else ""
    return Approval(given=True, by=who, ticket=answer.ticket, note=note)


def question(plans: Sequence[Plan], requester: str, *, until: datetime) -> str:
    """Describe in Markdown what is to be approved: what, where, for whom, until when."""
    asked = f"Asked for by **{escape(requester)}**, to restore for real"
    parts = [f"{asked}, if somebody approves before **{until:%Y-%m-%d %H:%M} UTC**:"]
    for plan in plans:
        if isinstance(plan, PointsPlan):
            parts += _of_points(plan)
            continue
        head = f"**{escape(str(plan.key))}** to **{plan.target}** as **{escape(plan.name)}**"
        if plan.unit is not None and plan.unit.into_existing:
            head += ", OVER what is there"
        parts.append(f"{head} ({format_size(plan.size_bytes)}, about {plan.seconds:.0f} s)")
        parts.append("\n".join(f"1. {escape(str(step))}" for step in plan.steps))
        parts += [f"⚠ {escape(str(warning))}" for warning in plan.warnings]
    # the form shows no description of its fields
    parts.append(
        "To approve: switch **Approve** on and write your name. Without a name it is a no."
    )
    return "\n\n".join(parts)


def _of_points(plan: PointsPlan) -> list[str]:
    steps = "\n".join(f"1. {escape(step)}" for step in plan.steps)
    return [f"**{escape(plan.title)}**", steps, *(f"⚠ {escape(r)}" for r in plan.remarks)]
