"""Questions about changes with several possible meanings. They are written to a TOML file and answered in it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args

from msgspec import Struct, field

from registry.errors import BadMapping
from registry.imports import toml
from registry.imports.messages import ImportText
from registry.imports.values import digest

QuestionKind = Literal["changed", "elsewhere", "redefined", "renamed", "split"]
Answer = Literal["", "world", "correction", "leave", "same", "split", "different"]

CHOICES: dict[QuestionKind, tuple[Answer, ...]] = {
    "changed": ("world", "correction", "leave"),
    "elsewhere": ("world", "leave"),
    "redefined": ("world", "correction", "leave"),
    "renamed": ("same", "different"),
    "split": ("split", "different"),
}
"""What a question can be answered with."""


class OpenQuestion(Struct, frozen=True):
    """A question for an editor. `subject` tells it from others, also in a later run."""

    kind: QuestionKind
    at: str
    subject: tuple[str, ...]
    message: ImportText

    @property
    def id(self) -> str:
        """The name under which the question is answered."""
        return f"{self.kind}-{digest(chr(31).join(self.subject))}"


class QuestionFile(Struct):
    """The answered questions of a file, as they stand in it."""

    answered: list[dict[str, str]] = field(default_factory=list)

    @property
    def answers(self) -> dict[str, Answer]:
        """The answers by the question's id."""
        return {one["id"]: one["answer"] for one in self.answered}  # type: ignore[misc]


def write(file: QuestionFile, questions: Iterable[OpenQuestion], render: Any, introduction: str) -> str:
    """The text of a file with the questions that were answered, and the open ones with an empty answer.

    Args:
        file: The answered questions.
        questions: The open questions.
        render: Renders a message in the editor's language.
        introduction: What the editor is to do.
    """
    asked = (
        {
            "id": question.id,
            "at": question.at,
            "text": render(question.message),
            "choices": " | ".join(CHOICES[question.kind]),
            "answer": "",
        }
        for question in questions
    )
    return _written((*file.answered, *asked), introduction)


def answer(text: str, name: str, answers: Mapping[str, str], introduction: str) -> str:
    """The text of a file of questions with more answers, by the question's id.

    Raises:
        BadMapping: An answer is no choice.
    """
    asked = toml.loads(text, name).get("question", [])
    written = _written([{**one, "answer": answers.get(one["id"], one["answer"])} for one in asked], introduction)
    read(written, name)
    return written


def _written(asked: Iterable[Mapping[str, str]], introduction: str) -> str:
    parts = [f"# {line}" for line in introduction.splitlines()]
    for one in asked:
        parts += ["", "[[question]]", *(f"{name} = {_string(one[name])}" for name in _KEYS if name in one)]
    return "\n".join(parts) + "\n"


def read(text: str, name: str) -> QuestionFile:
    """Read a file of questions.

    Raises:
        BadMapping: The file is not one of questions, or an answer is no choice.
    """
    questions = toml.loads(text, name).get("question", [])
    file = QuestionFile()
    for question in questions if isinstance(questions, list) else []:
        id_, answer = str(question.get("id", "")), question.get("answer", "")
        kind = next((kind for kind in get_args(QuestionKind) if id_.startswith(f"{kind}-")), None)
        if kind is None or (answer and answer not in CHOICES[kind]):
            known = CHOICES[kind] if kind is not None else get_args(QuestionKind)
            raise BadMapping(reason=ImportText("answer-invalid", file=name, id=id_, answer=str(answer), known=known))
        if answer:
            file.answered.append({key: str(value) for key, value in question.items()})
    return file


_KEYS = ("id", "at", "text", "choices", "answer")


def _string(text: str) -> str:
    """A TOML string. JSON's escapes are TOML's."""
    return json.dumps(text, ensure_ascii=False)


Answers = Mapping[str, Answer]
