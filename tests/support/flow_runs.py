"""Flow runs, and what Prefect keeps of them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from tests.support.prefect import PrefectServer, drain
from tests.support.waiting import eventually
from tests.support.world import World


def run(verb: str, made: World, **parameters: Any) -> Any:
    """Run a flow; its final state."""
    flow = getattr(import_module(f"flows.{verb}"), verb)
    return flow(config=made.reference, **parameters, return_state=True)


def recorded(server: PrefectServer, what: str, state: Any, **filters: Any) -> list[dict[str, Any]]:
    """Task runs or artifacts of the run that came to this state."""
    of_run = {"flow_runs": {"id": {"any_": [str(state.state_details.flow_run_id)]}}, **filters}
    found: list[dict[str, Any]] = server.call("POST", f"/{what}/filter", of_run)
    return found


def task_states(server: PrefectServer, state: Any, *, expected: int) -> dict[str, str]:
    """Name -> state name of the task runs, once the server has recorded that they ended."""
    drain()

    def ask() -> dict[str, tuple[str, str]]:
        found = recorded(server, "task_runs", state)
        return {r["name"]: (r["state_type"], r["state_name"]) for r in found}

    ended = eventually(
        ask,
        until=lambda found: (
            len(found) >= expected
            and {kind for kind, _ in found.values()} <= {"COMPLETED", "FAILED"}
        ),
    )
    return {name: state_name for name, (_, state_name) in ended.items()}
