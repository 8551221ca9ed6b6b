"""Reads amoCRM's cards of deals, contacts and talks, and picks what Otvet stores of them. No I/O.

Sources: https://www.amocrm.ru/developers/content/crm_platform/leads-api, .../contacts-api, .../talks-api
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any

from otvet.amocrm.events import LARGEST_ID, LEAD_TYPES

WON, LOST = 142, 143
"""The ids of the two last stages, the same in every pipeline."""

_DATES = {"date": "%d.%m.%Y", "birthday": "%d.%m.%Y", "date_time": "%d.%m.%Y %H:%M"}
_FAR = 250_000_000_000  # seconds, beyond the last date of datetime

Card = Mapping[str, Any]


def lead_of_talk(talk: Card | None) -> int | None:
    """The id of the deal that a talk is about."""
    if talk is None:
        return None
    if str(talk.get("entity_type") or "") in LEAD_TYPES and (lead := _id(talk.get("entity_id"))):
        return lead
    return next((id_ for entry in embedded(talk, "leads") if (id_ := _id(entry.get("id")))), None)


def contact_of_talk(talk: Card | None) -> int | None:
    """The id of the contact that a talk is with."""
    return _id((talk or {}).get("contact_id"))


def leads_of_contact(contact: Card | None) -> list[int]:
    """The ids of all deals of a contact, the newest first, because ids grow."""
    ids = {id_ for entry in embedded(contact or {}, "leads") if (id_ := _id(entry.get("id")))}
    return sorted(ids, reverse=True)


def newest_open(leads: Sequence[Card], contact_id: int) -> int | None:
    """The id of the contact's newest open deal; deals that do not name the contact are left out."""
    theirs = [
        (_id(lead.get("created_at")) or 0, id_)
        for lead in leads
        if (id_ := _id(lead.get("id"))) and is_open(lead) and contact_id in contacts_of(lead)
    ]
    return max(theirs)[1] if theirs else None


def is_open(lead: Card) -> bool:
    return not lead.get("is_deleted") and lead.get("status_id") not in (WON, LOST)


def contacts_of(lead: Card) -> list[int]:
    """The ids of the deal's contacts."""
    return [id_ for entry in embedded(lead, "contacts") if (id_ := _id(entry.get("id")))]


def deal(
    lead: Card,
    pipelines: Mapping[int, str],
    stages: Mapping[tuple[int, int], str],
    responsible: str | None,
    chosen: str,
    zone: tzinfo,
) -> dict[str, Any]:
    """A deal in the form in which it is stored.

    pipelines: names by id. stages: names by the pipeline's id and the stage's. chosen: the further fields to store, as
    ``chosen_names`` reads them.
    """
    pipeline, stage = _id(lead.get("pipeline_id")), _id(lead.get("status_id"))
    return {
        "name": _words(lead.get("name")),
        "price": lead.get("price") or None,
        "pipeline_id": pipeline,
        "pipeline": pipelines.get(pipeline or 0),
        "stage_id": stage,
        "stage": stages.get((pipeline or 0, stage or 0)),
        "responsible_id": _id(lead.get("responsible_user_id")),
        "responsible": responsible,
        "tags": [_words(tag.get("name")) for tag in embedded(lead, "tags")],
        "tag_ids": [id_ for tag in embedded(lead, "tags") if (id_ := _id(tag.get("id")))],
        "chosen": chosen,
        "fields": fields(lead, chosen_names(chosen), zone),
    }


def contact(card: Card, chosen: str, zone: tzinfo) -> dict[str, Any]:
    """A contact in the form in which it is stored: ``name``, the first ``phone`` and ``email``, the chosen fields."""
    return {
        "name": _words(card.get("name")) or None,
        "phone": _first(card, "PHONE"),
        "email": _first(card, "EMAIL"),
        "card": {"chosen": chosen, "fields": fields(card, chosen_names(chosen), zone)},
    }


def chosen_names(text: str) -> frozenset[str]:
    """Names and ids, separated by ; (or by commas if there is no ;), in the form in which they are compared."""
    return frozenset(filter(None, map(plain, text.split(";" if ";" in text else ","))))


def plain(text: object) -> str:
    """A name in the form in which it is compared: case, ё and space do not matter."""
    return " ".join(str(text).casefold().replace("ё", "е").split())


def fields(card: Card, chosen: Collection[str], zone: tzinfo) -> list[list[str]]:
    """(name, value) of the custom fields of a card that were chosen by name, id or code.

    zone: the account's time zone; amoCRM stores a date as the moment at which the day begins there.
    """
    found = []
    for field in _fields(card):
        names = {plain(field.get(name)) for name in ("field_name", "field_id", "field_code") if field.get(name)}
        if names & set(chosen) and (value := _value(field, zone)):
            found.append([_words(field.get("field_name")) or str(field.get("field_id")), value])
    return found


def text_of_field(card: Card, field_id: int) -> str:
    """The text in a custom field of a card, as it is kept; empty if there is none."""
    values = [value for field in _fields(card) if _id(field.get("field_id")) == field_id for value in _values(field)]
    return str(values[0]) if values and values[0] is not None else ""


def embedded(card: Card, name: str) -> list[Card]:
    inside = card.get("_embedded")
    entries = inside.get(name) if isinstance(inside, dict) else None
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def names(entries: Sequence[Card]) -> Iterator[tuple[int, str]]:
    """(id, name) of the entries that have both."""
    for entry in entries:
        if (id_ := _id(entry.get("id"))) and (name := _words(entry.get("name"))):
            yield id_, name


def _fields(card: Card) -> list[Card]:
    listed = card.get("custom_fields_values")  # null where there are none
    return [field for field in listed if isinstance(field, dict)] if isinstance(listed, list) else []


def _value(field: Card, zone: tzinfo) -> str:
    """A field's values as text, separated by commas."""
    texts = [_shown(value, str(field.get("field_type") or ""), zone) for value in _values(field)]
    return ", ".join(filter(None, texts))


def _values(field: Card) -> list[Any]:
    listed = field.get("values")
    return [one.get("value") for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


def _shown(value: Any, kind: str, zone: tzinfo) -> str:
    if isinstance(value, bool):
        return "+" if value else "-"
    if kind in _DATES and isinstance(value, int) and 0 < value < _FAR:
        return datetime.fromtimestamp(value, zone).strftime(_DATES[kind])
    return _words(value) if isinstance(value, (str, int, float)) else ""


def _first(card: Card, code: str) -> str | None:
    """The first value of a built-in field, such as PHONE."""
    values = [value for field in _fields(card) if field.get("field_code") == code for value in _values(field)]
    return next((words for value in values if (words := _words(value))), None)


def _words(value: Any) -> str:
    return " ".join(str(value).split()) if value is not None else ""


def _id(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return None
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and 0 < int(text) <= LARGEST_ID else None
