"""Why a message was not sent: codes, whose texts are in the catalogues."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

import httpcore

from registry.delivery.bounded_stream import AnswerTooLong
from registry.delivery.public_network import PrivateAddress
from registry.i18n import Message


class DeliveryProblem(Message):
    """Why a receiver or a mail server did not take a message."""

    context = "delivery"


def connection_problem(error: BaseException) -> DeliveryProblem:
    """What an error of a connection means, whose own text is that of the system or of a library, in English."""
    for cause in _causes(error):
        match cause:
            case PrivateAddress(host=host):
                return DeliveryProblem("private_address", host=host)
            case AnswerTooLong():
                return DeliveryProblem("answer_too_long")
            case socket.gaierror():
                return DeliveryProblem("unknown_host")
            case ssl.SSLCertVerificationError():
                return DeliveryProblem("certificate")
            case ssl.SSLError():
                return DeliveryProblem("tls")
            case ConnectionRefusedError():
                return DeliveryProblem("connection_refused")
            case TimeoutError() | httpcore.TimeoutException():
                return DeliveryProblem("timeout")
            case _:
                pass
    return DeliveryProblem("connection_failed")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that it followed from, those of a group one by one."""
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for one in error.exceptions:
                yield from _causes(one)
        error = error.__cause__ or error.__context__
