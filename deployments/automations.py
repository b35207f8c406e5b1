"""What is announced, and to whom: the automations of one cluster. Pure.

Everything alerts on absence, too: the dead-man's switch fires although nothing ran at all. It waits
for the event that a backup run sends when every collection was captured and proven in that very
run, never for the colour of a flow run.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from prefect.client.schemas.objects import StateType
from prefect.events.actions import ActionTypes, ChangeFlowRunState, DoNothing, SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

from qdrant_dr.config import Config
from tasks.announce import PROTECTED

TAG = "qdrant-dr"
HEARTBEAT = timedelta(seconds=180)
"""How often a flow run tells Prefect that it lives, unless set otherwise."""
OURS = ResourceSpecification(
    {"prefect.resource.id": f"prefect.tag.{TAG}", "prefect.resource.role": "tag"}
)
ENDED_BADLY = ("Failed", "Crashed", "TimedOut", "Cancelled", "Degraded")
RUNBOOK = "qdrant-dr report tells what is affected and the next command."


def automations(
    config: Config, notify: UUID | None, *, heartbeat: timedelta = HEARTBEAT
) -> tuple[AutomationCore, ...]:
    """All of them. `notify` is the document id of a notification block; without one they only
    show in Prefect's event feed and on their own pages."""
    cluster = config.cluster.name
    hours = config.objectives.rpo / timedelta(hours=1)
    return (
        AutomationCore(
            name=f"qdr-deadman-{cluster}",
            description=f"No backup of all collections of {cluster}, proven, for {hours:g} hours.",
            trigger=EventTrigger(
                posture=Posture.Proactive,
                match=_resource(f"qdrant-dr.cluster.{cluster}"),
                expect={PROTECTED},
                threshold=1,
                within=config.objectives.rpo,
            ),
            actions=_say(
                notify,
                f"Qdrant DR: {cluster} is not protected",
                f"For {hours:g} h no run has captured and proven every collection of {cluster}: "
                f"none ran, or none went well. {RUNBOOK}",
            ),
        ),
        AutomationCore(
            name="qdr-ended-badly",
            description="A run failed, crashed, timed out, was cancelled or is degraded.",
            trigger=EventTrigger(
                posture=Posture.Reactive,
                match=_resource("prefect.flow-run.*"),
                match_related=OURS,
                expect={f"prefect.flow-run.{state}" for state in ENDED_BADLY},
                threshold=1,
                within=timedelta(0),
            ),
            actions=_say(
                notify,
                "Qdrant DR: {{ flow_run.name }} is {{ flow_run.state.name }}",
                "{{ flow_run.state.message }}\n{{ flow_run|ui_url }}\n" + RUNBOOK,
            ),
        ),
        AutomationCore(
            name="qdr-late",
            description="A run that was due has not begun: is a worker there?",
            trigger=EventTrigger(
                posture=Posture.Reactive,
                match=_resource("prefect.flow-run.*"),
                match_related=OURS,
                expect={"prefect.flow-run.Late"},
                threshold=1,
                within=timedelta(0),
            ),
            actions=_say(
                notify,
                "Qdrant DR: {{ flow_run.name }} is late",
                "No worker took it: `prefect worker start`, see `prefect work-pool ls`.\n"
                "{{ flow_run|ui_url }}",
            ),
        ),
        AutomationCore(
            name="qdr-zombie",
            description="A run stopped telling that it lives: its worker is gone. It is marked.",
            trigger=EventTrigger(
                posture=Posture.Proactive,
                match=_resource("prefect.flow-run.*"),
                match_related=OURS,
                after={"prefect.flow-run.heartbeat"},
                expect={"prefect.flow-run.*"},
                for_each={"prefect.resource.id"},
                threshold=1,
                within=3 * heartbeat,
            ),
            actions=[
                ChangeFlowRunState(
                    state=StateType.CRASHED,
                    message=f"no sign of life for {3 * heartbeat}: its process is gone",
                )
            ],
        ),
    )


def _resource(identifier: str) -> ResourceSpecification:
    return ResourceSpecification({"prefect.resource.id": identifier})


def _say(notify: UUID | None, subject: str, body: str) -> list[ActionTypes]:
    if notify is None:
        return [DoNothing()]
    return [SendNotification(block_document_id=notify, subject=subject, body=body)]
