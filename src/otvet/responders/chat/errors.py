"""What can go wrong with a model's service, as a sentence for the operator.

A service's own message is left out on purpose: it can quote what a client wrote, or a part of the key.
"""

import ssl

from otvet.i18n import N_, _
from otvet.responders.base import ResponderError

_REFUSALS = {
    401: N_("The model's service does not accept the API key."),
    402: N_("The account at the model's service is out of credit."),
    403: N_("The model's service does not allow this: because of the key, the model or the country."),
    404: N_("The model's service knows no such model, or its address is wrong."),
}


def by_status(status: int, *, out_of_credit: bool = False) -> ResponderError:
    """The error for an HTTP status that is no success.

    out_of_credit: the service said that this is why, whatever the status (OpenAI says so with a 429).
    """
    if out_of_credit or status in _REFUSALS:
        return ResponderError(_(_REFUSALS[402 if out_of_credit else status]), permanent=True, status=status)
    if status == 429:
        return ResponderError(_("The model's service takes no more requests now."), status=status)
    if status >= 500 or status in (408, 409):
        text = _("The model's service has a fault of its own (HTTP {status}).")
        return ResponderError(text.format(status=status), status=status)
    if status < 400:
        return not_a_model(status)
    text = _("The model's service refused the request (HTTP {status}): it is too long, or holds a value unknown there.")
    return ResponderError(text.format(status=status), permanent=True, status=status)


def not_a_model(status: int | None = None) -> ResponderError:
    """Something answered, but not as a chat-completions endpoint does: a proxy's page, or a wrong address."""
    return ResponderError(_("What answered is no model's service; check its address and the proxy."), status=status)


def unreachable(error: BaseException) -> ResponderError:
    """No answer came because of the connection; ``error`` is why."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            text = _("The certificate of the model's service is not trusted; name its root in OTVET_OPENAI_CA_FILE.")
            return ResponderError(text, permanent=True)
        cause = cause.__cause__ or cause.__context__
    return ResponderError(_("The model's service cannot be reached, or the connection broke off."))


def too_late(seconds: float) -> ResponderError:
    """The time that the setting allows is over; what the model has written by then may have to be paid for."""
    text = _("The model did not answer within {seconds} seconds.")
    return ResponderError(text.format(seconds=f"{round(seconds, 1):g}"), ambiguous=True)
