"""Send e-mail through the operator's SMTP server (RFC 5321), with TLS wherever a password is sent."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from collections.abc import Mapping
from email.message import EmailMessage
from email.utils import make_msgid
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from registry.delivery.problems import DeliveryProblem, connection_problem

SUBMISSION_PORT = 587
TLS_PORT = 465

# Seconds that the server has for each step.
TIMEOUT_SECONDS = 20.0

LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


class MailNotSent(Exception):
    """A message was not sent. Its cause has the server's own words."""

    def __init__(self, problem: DeliveryProblem) -> None:
        super().__init__(str(problem))
        self.problem = problem


class MailRefused(MailNotSent):
    """The server will never accept this message: it says so of the address or of the message (5yz)."""


class MailFailed(MailNotSent):
    """The message was not sent; it may be later."""


class Mail(Struct, frozen=True, kw_only=True):
    """A message of plain text."""

    to: str
    subject: str
    text: str
    language: str
    headers: Mapping[str, str] = {}


class Mailer:
    """Sends messages, each over a connection of its own.

    Args:
        url: `smtp://USER:PASSWORD@HOST:PORT`, or `smtps://` for TLS from the start.
        sender: The address that messages are from.
    """

    def __init__(self, url: str, sender: str) -> None:
        parts = urlsplit(url)
        self._tls_from_start = parts.scheme == "smtps"
        self._host = parts.hostname or ""
        self._port = parts.port or (TLS_PORT if self._tls_from_start else SUBMISSION_PORT)
        self._user = unquote(parts.username) if parts.username is not None else None
        self._password = unquote(parts.password or "")
        self._sender = sender

    async def send(self, mail: Mail) -> None:
        """Send a message.

        Raises:
            MailRefused, MailFailed: It was not sent.
        """
        message = EmailMessage()
        message["From"] = self._sender
        message["To"] = mail.to
        message["Subject"] = mail.subject
        message["Message-ID"] = make_msgid(domain=self._sender.rpartition("@")[2].rstrip(">") or None)
        # No one answers a message that a program sends (RFC 3834).
        message["Auto-Submitted"] = "auto-generated"
        for name, value in mail.headers.items():
            message[name] = value
        message.set_content(mail.text)
        message["Content-Language"] = mail.language
        try:
            await asyncio.to_thread(self._deliver, message, mail.to)
        except smtplib.SMTPRecipientsRefused as error:
            status = max(code for code, _ in error.recipients.values())
            raise (MailRefused if status >= 500 else MailFailed)(_answered(status)) from error
        except smtplib.SMTPResponseException as error:
            is_final = isinstance(error, smtplib.SMTPDataError) and error.smtp_code >= 500
            raise (MailRefused if is_final else MailFailed)(_answered(error.smtp_code)) from error
        except (OSError, smtplib.SMTPException, ValueError) as error:
            raise MailFailed(connection_problem(error)) from error

    def _deliver(self, message: EmailMessage, to: str) -> None:
        context = ssl.create_default_context()
        with self._connect(context) as server:
            server.ehlo()
            is_secure = self._tls_from_start
            if not is_secure and server.has_extn("starttls"):
                server.starttls(context=context)
                server.ehlo()
                is_secure = True
            if self._user is not None:
                if not is_secure and self._host not in LOCAL_HOSTS:
                    raise MailFailed(DeliveryProblem("no_tls"))
                server.login(self._user, self._password)
            server.send_message(message, to_addrs=[to])

    def _connect(self, context: ssl.SSLContext) -> smtplib.SMTP:
        if self._tls_from_start:
            return smtplib.SMTP_SSL(self._host, self._port, timeout=TIMEOUT_SECONDS, context=context)
        return smtplib.SMTP(self._host, self._port, timeout=TIMEOUT_SECONDS)


def _answered(status: int) -> DeliveryProblem:
    return DeliveryProblem("mail_status", status=status)
