"""Turns the settings into policies: which questions are answered, what a responder is told, how replies are sent."""

from datetime import timedelta

from otvet.answering.answering import WritingOptions
from otvet.answering.instructions import Instructions
from otvet.deals.selection import Selection
from otvet.delivery.methods import DeliveryOptions
from otvet.errors import SettingsError
from otvet.i18n import _
from otvet.settings import working_hours
from otvet.settings.by_channel import SALESBOT, WIDGET, ways_in
from otvet.settings.checks import AS_ALWAYS, SILENT
from otvet.settings.settings import Settings
from otvet.turns.policy import Policy


def delivery_options(settings: Settings) -> DeliveryOptions:
    """How replies are delivered. Raises SettingsError if a method lacks a setting."""
    via = ways_in(settings.reply_via)
    if SALESBOT in via.values() and settings.salesbot_id is None:
        raise SettingsError(_("OTVET_SALESBOT_ID: give the number of the Salesbot that sends the replies"))
    if WIDGET in via.values() and settings.amocrm_client_secret is None:
        raise SettingsError(_("OTVET_AMOCRM_CLIENT_SECRET: give the integration's secret key for the way widget"))
    return DeliveryOptions(
        via=via,
        note=settings.reply_note,
        salesbot_id=settings.salesbot_id,
        show=settings.widget_show,
    )


def answer_policy(settings: Settings) -> Policy:
    """Which questions the assistant answers, and when."""
    return Policy(
        quiet=timedelta(seconds=settings.quiet_seconds),
        quiet_max=timedelta(seconds=settings.quiet_max_seconds),
        stale=timedelta(minutes=settings.stale_minutes),
        replies_a_day=settings.replies_a_day,
        mode=settings.mode,
        hours=working_hours.read(settings.working_hours, working_hours.zone_of(settings.timezone)),
        answers_out_of_hours=settings.out_of_hours == AS_ALWAYS,
        hours_text="" if settings.out_of_hours in (AS_ALWAYS, SILENT) else settings.out_of_hours,
        selection=Selection.of(settings.answer_only, settings.answer_except),
    )


def writing_options(settings: Settings) -> WritingOptions:
    ceilings = {"manus": settings.manus_credits_per_day, "openai": settings.openai_tokens_per_day}
    return WritingOptions(
        history_messages=settings.history_messages,
        small_talk=settings.small_talk,
        person_phrases=settings.person_phrases,
        instructions=Instructions(settings.instructions_file),
        zone=working_hours.zone_of(settings.timezone),
        ceilings={name: ceiling for name, ceiling in ceilings.items() if ceiling is not None},
    )
