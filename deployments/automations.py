"""What is announced, and to whom: the automations of one cluster. Pure.

Everything alerts on absence, too: the dead-man's switches fire although nothing ran at all. One
waits for the event that a backup run sends when every collection was captured and proven in that
very run, never for the colour of a flow run; the other for any look of `watch`.

Runs of `watch` carry a tag of their own. A look that finds a broken promise is red every quarter of
an hour: what it found is told once, by its findings. Only a watch that did not look is told as a
run. One that is late, or cancelled for the one before it still looks, is told by the switch.
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
from tasks.deployment_names import full_name
from tasks.watch import CHANGED, WATCHED

TAG = "qdrant-dr"
WATCH_TAG = "qdrant-dr-watch"
UNWATCHED_AFTER = timedelta(hours=1)
HEARTBEAT = timedelta(seconds=180)
"""How often a flow run tells Prefect that it lives, unless set otherwise."""
ENDED_BADLY = ("Failed", "Crashed", "TimedOut", "Cancelled", "Degraded")
DID_NOT_LOOK = ("Failed", "Crashed", "TimedOut")
RUNBOOK = "qdrant-dr report tells what is affected and the next command."


def automations(
    config: Config,
    notify: UUID | None,
    *,
    heartbeat: timedelta = HEARTBEAT,
    unwatched_after: timedelta = UNWATCHED_AFTER,
) -> tuple[AutomationCore, ...]:
    """Return all automations. `notify` is the document id of a notification block; without one they
    show only in Prefect's event feed and on their own pages."""
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
            name=f"qdr-unwatched-{cluster}",
            description=f"Nobody has looked at {cluster} for an hour.",
            trigger=EventTrigger(
                posture=Posture.Proactive,
                match=_resource(f"qdrant-dr.cluster.{cluster}"),
                expect={WATCHED},
                threshold=1,
                within=unwatched_after,
            ),
            actions=_say(
                notify,
                f"Qdrant DR: nobody watches {cluster}",
                "The last look is an hour old: is a worker there, see `prefect work-pool ls`; is "
                f"the schedule of {full_name('watch', cluster)} on? Until then `qdrant-dr watch` "
                "looks.",
            ),
        ),
        AutomationCore(
            name=f"qdr-findings-{cluster}",
            description=f"Something is newly wrong with {cluster}, or is over.",
            trigger=EventTrigger(
                posture=Posture.Reactive,
                match=_resource(f"qdrant-dr.cluster.{cluster}"),
                expect={CHANGED},
                threshold=1,
                within=timedelta(0),
            ),
            actions=_say(
                notify, "Qdrant DR: {{ event.payload.subject }}", "{{ event.payload.text }}"
            ),
        ),
        AutomationCore(
            name="qdr-did-not-look",
            description="A run of watch failed before it had looked, or died.",
            trigger=EventTrigger(
                posture=Posture.Reactive,
                match=_resource("prefect.flow-run.*"),
                match_related=_tagged(WATCH_TAG),
                expect={f"prefect.flow-run.{state}" for state in DID_NOT_LOOK},
                threshold=1,
                within=timedelta(0),
            ),
            actions=_say(
                notify,
                "Qdrant DR: {{ flow_run.name }} could not look",
                "{{ flow_run.state.message }}\n{{ flow_run|ui_url }}\n"
                "`qdrant-dr watch` shows what is in the way.",
            ),
        ),
        AutomationCore(
            name="qdr-ended-badly",
            description="A run failed, crashed, timed out, was cancelled or is degraded.",
            trigger=EventTrigger(
                posture=Posture.Reactive,
                match=_resource("prefect.flow-run.*"),
                match_related=_tagged(TAG),
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
                match_related=_tagged(TAG),
                expect={"prefect.flow-run.Late"},
                threshold=1,
                within=timedelta(0),
            ),
            actions=_say(
                notify,
                # a run that never began has a random name: its deployment tells what it was for
                "Qdrant DR: {{ flow.name }}/{{ deployment.name }} is late",
                "It was due {{ flow_run.expected_start_time }} and no worker took it: "
                "`prefect worker start --pool {{ deployment.work_pool_name }}`, see "
                "`prefect work-pool ls`; or another run of it is still going on.\n"
                "{{ flow_run|ui_url }}",
            ),
        ),
        AutomationCore(
            name="qdr-approval",
            description="A restore waits for somebody to approve of it.",
            trigger=EventTrigger(
                posture=Posture.Reactive,
                match=_resource("prefect.flow-run.*"),
                match_related=_tagged(TAG),
                expect={"prefect.flow-run.Paused"},
                threshold=1,
                within=timedelta(0),
            ),
            actions=_say(
                notify,
                "Qdrant DR: {{ flow_run.name }} waits for approval",
                "Until {{ flow_run.state.state_details.pause_timeout }} somebody may approve of "
                "it, or it ends undone: its page has the plan, and Resume has the form.\n"
                "{{ flow_run|ui_url }}",
            ),
        ),
        AutomationCore(
            name="qdr-zombie",
            description="A run stopped telling that it lives: its worker is gone. It is marked.",
            trigger=EventTrigger(
                posture=Posture.Proactive,
                match=_resource("prefect.flow-run.*"),
                match_related=_tagged(TAG, WATCH_TAG),
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


def _tagged(*tags: str) -> ResourceSpecification:
    return ResourceSpecification(
        {
            "prefect.resource.id": [f"prefect.tag.{tag}" for tag in tags],
            "prefect.resource.role": "tag",
        }
    )


def _resource(identifier: str) -> ResourceSpecification:
    return ResourceSpecification({"prefect.resource.id": identifier})


def _say(notify: UUID | None, subject: str, body: str) -> list[ActionTypes]:
    if notify is None:
        return [DoNothing()]
    return [SendNotification(block_document_id=notify, subject=subject, body=body)]
