"""Tasks in amoCRM: to make one, to change its text, to find it again, and to see that somebody has completed it.

Source: https://www.amocrm.ru/developers/content/crm_platform/tasks-api
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from otvet.amocrm.answers import WRONG_SHAPE, id_of_first, not_data
from otvet.amocrm.client import PAGE, AmoClient, Slot


async def add_task(slot: Slot, lead_id: int, text: str, due: datetime, responsible_user_id: int | None) -> int:
    """Make a task in the deal, for the deal's responsible user if none is given; returns its id."""
    task = {"text": text, "complete_till": int(due.timestamp()), "entity_id": lead_id, "entity_type": "leads"}
    if responsible_user_id:
        task["responsible_user_id"] = responsible_user_id
    made = await slot.call("POST", "/api/v4/tasks", body=[task], private=text, lenient=False)
    return id_of_first(made, "tasks")


async def change_task(slot: Slot, task_id: int, text: str) -> None:
    """Set the text of a task."""
    await slot.call("PATCH", f"/api/v4/tasks/{task_id}", body={"text": text}, private=text, lenient=True)


async def find_task(amocrm: AmoClient, lead_id: int, marker: str) -> int | None:
    """The id of an open task of the deal with ``marker`` in its text."""
    query: dict[str, str | int] = {
        "filter[entity_type]": "leads",
        "filter[entity_id]": lead_id,
        "filter[is_completed]": 0,
        "limit": PAGE,
    }
    data = await amocrm.get("/api/v4/tasks", query)
    try:
        for task in data["_embedded"]["tasks"] if data else ():
            if marker in str(task["text"]):
                return int(task["id"])
    except WRONG_SHAPE:
        raise not_data("GET") from None
    return None


async def completed_tasks(amocrm: AmoClient, ids: Collection[int], *, missing: bool = False) -> dict[int, str]:
    """Those of these tasks that are completed, with the words of their result.

    missing: also those that are not there any more.
    """
    query: dict[str, str | int] = {f"filter[id][{number}]": id_ for number, id_ in enumerate(ids)}
    data = await amocrm.get("/api/v4/tasks", {**query, "limit": PAGE})
    try:
        found = {int(task["id"]): task for task in data["_embedded"]["tasks"]} if data else {}
        gone = dict.fromkeys(ids, "") if missing else {}
        completed = {id_: _result(task) for id_, task in found.items() if task["is_completed"]}
    except WRONG_SHAPE:
        raise not_data("GET") from None
    return {id_: text for id_, text in gone.items() if id_ not in found} | completed


def _result(task: Mapping[str, Any]) -> str:
    """What somebody wrote when completing a task; amoCRM gives an empty list for nothing."""
    result = task.get("result")
    return str(result.get("text") or "") if isinstance(result, dict) else ""
