"""``otvet serve``: runs the service until it is told to stop."""

import contextlib
import errno
import gc
import os
import signal
import socket
import threading
from types import FrameType

import uvicorn

from otvet import logs
from otvet.app.service import Service
from otvet.app.wiring import wire
from otvet.errors import UsageError, os_reason
from otvet.i18n import _, ngettext
from otvet.responders.knowledge.passages import read_folder
from otvet.settings import old_names
from otvet.settings.loading import misspelt
from otvet.settings.settings import Settings
from otvet.staff import wording
from otvet.users import first_code
from otvet.web.application import create

GRACE_SECONDS = 5  # for requests that are being answered
COLLECT_AFTER = (1000, 10, 50)  # with 1,000 turns in flight a full collection takes a third of a second: make it rare
NO_ADDRESS_OF_OURS = frozenset((errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL))
STOP_SECONDS = 19.0  # to the end of the process; the documentation promises 20


def serve(settings: Settings) -> None:
    """Run until SIGTERM or Ctrl-C. Raises OtvetError with one line if it cannot start."""
    logs.set_up(settings.log_format)
    listener = _listen(settings.host, settings.port)
    # Port 0 means any free port; from here on the settings have the real one.
    settings = settings.model_copy(update={"port": listener.getsockname()[1]})
    service = wire(settings)
    config = uvicorn.Config(
        create(service),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = _Server(config, service)
    _introduce(service)
    for told in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises them again after a normal stop
        signal.signal(told, lambda _number, _frame: None)
    gc.collect()
    gc.freeze()  # what is loaded now stays loaded: the collector need not check it while a webhook waits
    gc.set_threshold(*COLLECT_AFTER)
    server.run(sockets=[listener])


class _Server(uvicorn.Server):
    """A server that ends within STOP_SECONDS after it is told to stop."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.should_exit:
            self._service.told_to_stop_at = self._service.clock.monotonic()
            self._service.pulse.end()
            _end_in_any_case()
        super().handle_exit(sig, frame)


def _end_in_any_case() -> None:
    """End the process even if a disk or a database hangs; open turns are taken up again as after a kill."""
    timer = threading.Timer(STOP_SECONDS, os._exit, (1,))
    timer.daemon = True
    timer.start()


def _listen(host: str, port: int) -> socket.socket:
    """Bind the port before anything else, so that a port in use gives one clear line."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with contextlib.ExitStack() as on_failure:
            listener = on_failure.enter_context(socket.socket(family))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            on_failure.pop_all()
    except (OSError, UnicodeError) as error:
        raise UsageError(_why_not(error).format(host=host, port=port, cause=os_reason(error))) from error
    return listener


def _why_not(error: OSError | UnicodeError) -> str:
    """A sentence that names the setting; the system's own texts are in English and do not."""
    number = getattr(error, "errno", None)
    if isinstance(error, (socket.gaierror, UnicodeError)) or number in NO_ADDRESS_OF_OURS:
        return _("OTVET_HOST: this machine has no address {host}; give 127.0.0.1, or 0.0.0.0 for all that it has")
    if number == errno.EADDRINUSE:
        return _("another program listens on {host}:{port}; stop it, or give another OTVET_PORT")
    if number in (errno.EACCES, errno.EPERM):
        return _("listening on {host}:{port} is not permitted; give an OTVET_PORT from 1024 on")
    return _("cannot listen on {host}:{port} ({cause}); see OTVET_HOST and OTVET_PORT")


def _introduce(service: Service) -> None:
    """Print the address, and what is and is not configured."""
    settings = service.settings
    lines = [
        (_("Webhook for amoCRM"), settings.webhook_url(service.webhook_secret)),
        (_("Database"), service.database.shown_url),
        (
            _("amoCRM"),
            _("connected to {address}").format(address=settings.amocrm_base_url)
            if settings.amocrm_connected
            else _(
                "not connected: replies are kept and not sent (start otvet connect, or set OTVET_AMOCRM_BASE_URL and "
                "OTVET_AMOCRM_TOKEN)"
            ),
        ),
        (_("Assistant"), wording.mode(settings)),
        (
            _("Manus"),
            _("connected, profile {profile}").format(profile=settings.manus_profile)
            if settings.manus_api_key
            else _("not connected: replies come from the knowledge folder (set OTVET_MANUS_API_KEY)"),
        ),
        (_("Knowledge"), _knowledge(settings)),
        (_("API"), _("with tokens, which an owner makes on the pages under Settings")),
    ]
    if settings.public_url is None:
        lines.insert(1, ("", _("amoCRM reaches it only under a public https address: set OTVET_PUBLIC_URL")))
    width = max(len(name) for name, _value in lines)
    print(_("Otvet listens on http://{host}:{port}").format(host=settings.host, port=settings.port))  # noqa: T201
    if code := service.database.read_now(first_code.waiting):
        address = f"{settings.local_url}/set-up?code={first_code.shown(code)}"
        print(_("  First visit: open {address}").format(address=address))  # noqa: T201
    for name, value in lines:
        print(f"  {name:<{width}}  {value}")  # noqa: T201
    for sentence in [*misspelt(), *old_names.hints(old_names.given())]:
        print(f"  ! {sentence}")  # noqa: T201
    print(flush=True)  # noqa: T201


def _knowledge(settings: Settings) -> str:
    passages, problems = read_folder(settings.knowledge_dir, with_examples=not settings.amocrm_connected)
    folder = settings.knowledge_dir.absolute()
    if not passages:
        told = _("no answers in {folder}: every question goes to a manager").format(folder=folder)
    else:
        told = ngettext("{count} answer in {folder}", "{count} answers in {folder}", len(passages)).format(
            count=len(passages), folder=folder
        )
    left_out = ngettext(
        "{count} file left out, see otvet check", "{count} files left out, see otvet check", len(problems)
    )
    return f"{told}; {left_out.format(count=len(problems))}" if problems and folder.is_dir() else told
