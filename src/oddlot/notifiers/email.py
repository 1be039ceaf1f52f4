"""Alerts by e-mail."""

from __future__ import annotations

import email.message
import email.policy
import html
import re
import smtplib
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Annotated, Any, Literal

from msgspec import Meta

from oddlot.errors import ConfigError
from oddlot.notifiers.contract import (
    REFERENCE,
    SENT,
    Grouped,
    Later,
    Message,
    Refused,
    Reply,
    check_reference,
    plain,
    read_secret,
    title,
    worst_first,
)

_LISTED = 20
_TIMEOUT_S = 20.0
_ADDRESS = re.compile(r"[^\s@<>\",;:\\()\[\]]+@[A-Za-z0-9.-]+")
_WORDS = {
    "en": ("{} more of less worth are in the alert files.", "Worth {:,.2f}", "about {} of {}"),
    "es": ("Otras {} de menos valor están en los archivos de alertas.", "Vale {:,.2f}", "{} de {}"),
}


class Email(Grouped, frozen=True, kw_only=True):
    """Alerts by e-mail: one for what comes within `wait`, the twenty worst alerts listed.

    As text and HTML; what belongs to one incident is one thread. The Message-ID is the same at each
    try. A server's 4xx is tried again, its 5xx gives the message up.
    """

    server: Annotated[str, Meta(min_length=1, description="Host of the mail server.")]
    to: Annotated[tuple[str, ...], Meta(min_length=1, description="Addresses.")]
    sender: Annotated[str, Meta(description="The address that it comes from.")]
    port: Annotated[int, Meta(ge=1, le=65535, description="587, or 465 for tls.")] = 587
    security: Annotated[
        Literal["starttls", "tls", "none"],
        Meta(description="How the way there is sealed; none seals nothing."),
    ] = "starttls"
    user: Annotated[str, Meta(description="To log in with; no login if empty.")] = ""
    password: Annotated[Any, Meta(description=f"{REFERENCE} of it.")] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, address in [("sender", self.sender), *(("to", one) for one in self.to)]:
            if not _ADDRESS.fullmatch(address):
                raise ConfigError(f"{name} must be an address such as a@shop.com; got {address!r}")
        if self.password is not None:
            check_reference("password", self.password)
        if bool(self.user) != (self.password is not None):
            raise ConfigError("user and password must both be there, or neither")
        if self.security == "none" and self.user:
            raise ConfigError("security must be starttls or tls where there is a password")

    def open(self) -> Mailer:
        """Make ready to send; the secret must be there."""
        if self.password is not None:
            read_secret("password", self.password)
        return Mailer(self)


class Mailer:
    """Sends mails by one server."""

    def __init__(self, notifier: Email) -> None:
        self._notifier = notifier

    def send(self, message: Message) -> Sequence[Reply]:
        """Send one mail; see `Sender.send`."""
        mail = compose(message, self._notifier.sender, self._notifier.to)
        try:
            with self._connect() as server:
                refused = server.send_message(mail)
        except smtplib.SMTPRecipientsRefused as error:
            codes = sorted(code for code, _ in error.recipients.values())
            raise self._judge(codes[0] if codes else 550, "no recipient was taken") from None
        except smtplib.SMTPResponseException as error:
            raise self._judge(error.smtp_code, type(error).__name__) from None
        except smtplib.SMTPException as error:
            raise Later(f"{self._notifier.server}: {type(error).__name__}") from None
        except OSError as error:
            words = error.strerror or type(error).__name__
            if isinstance(error, ssl.SSLError):
                words = f"TLS: {error.reason or 'it failed'}"
            raise Later(f"{self._notifier.server}: {words}", is_away=True) from None
        del refused  # some were taken: to send it again would reach those twice
        return [SENT] * len(message.alerts)

    def close(self) -> None:
        """Do nothing: each mail has its own connection."""

    def _connect(self) -> smtplib.SMTP:
        notifier = self._notifier
        where = notifier.server, notifier.port
        if notifier.security == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                *where, timeout=_TIMEOUT_S, context=ssl.create_default_context()
            )
        else:
            server = smtplib.SMTP(*where, timeout=_TIMEOUT_S)
        try:
            if notifier.security == "starttls":
                server.starttls(context=ssl.create_default_context())
            if notifier.user:
                server.login(notifier.user, read_secret("password", notifier.password))
        except BaseException:
            server.close()
            raise
        return server

    def _judge(self, code: int, what: str) -> Later | Refused:
        text = f"{self._notifier.server}: {what}, {code}"
        # 530 to 538 are about the login, which somebody can put right.
        return Refused(text) if code >= 550 else Later(text)


def compose(message: Message, sender: str, to: Sequence[str]) -> email.message.EmailMessage:
    """Return a mail that is the same at each try but for its date."""
    mail = email.message.EmailMessage(email.policy.SMTP)
    domain = sender.rpartition("@")[2]
    mail["Subject"] = f"Oddlot: {title(message, 120)}"
    mail["From"] = sender
    mail["To"] = ", ".join(to)
    mail["Date"] = format_datetime(datetime.fromtimestamp(message.time_us // 1_000_000, UTC))
    mail["Message-ID"] = f"<{message.id}@{domain}>"
    incidents = {alert.incident for alert in message.alerts if alert.incident}
    if len(incidents) == 1:  # a root that was never sent holds the thread together
        mail["References"] = mail["In-Reply-To"] = f"<incident-{min(incidents)}@{domain}>"
    mail["Auto-Submitted"] = "auto-generated"
    more, worth, _ = _WORDS.get(message.language, _WORDS["en"])
    paragraphs = []
    listed = worst_first(message, _LISTED)
    for alert in listed:
        facts = [plain(alert.sku, 100), plain(alert.description, 100), alert.detector]
        facts += [worth.format(alert.severity)] if alert.severity > 0 else []
        place = f"{plain(alert.source, 200)}:{alert.number}" if alert.source else ""
        about = " · ".join(fact for fact in [*facts, place] if fact)
        paragraphs.append((plain(alert.text, 1000), about))
    if rest := len(message.alerts) - len(listed):
        paragraphs.append((more.format(rest), ""))
    mail.set_content("\n".join(f"{text}\n  {about}\n" for text, about in paragraphs))
    body = "\n".join(
        f"<p>{html.escape(text)}<br><small>{html.escape(about)}</small></p>"
        for text, about in paragraphs
    )
    mail.add_alternative(
        f'<!doctype html><html lang="{message.language}"><body>\n{body}\n</body></html>\n',
        subtype="html",
    )
    return mail
