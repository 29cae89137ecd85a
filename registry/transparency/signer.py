"""The log's signing key and its memory: what has been signed is never contradicted.

The key lives in a file of its own, outside the database, with files beside it: `.pub`, every verifier key the log ever
had, oldest first; `.head`, the last checkpoint that was signed; `.heads`, the last statement of the streams' last
events; `.lock`. What is signed is on disk before it is handed out, so neither a crash, nor a restored database, nor a
second process makes this key sign a smaller or a different tree. Nothing is kept between calls or logged; it
never asks the database: what must be proved is handed in.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from registry.errors import RegistryError
from registry.transparency.checkpoint import (
    BadKey,
    Checkpoint,
    CheckpointError,
    SigningKey,
    VerifierKey,
    open_checkpoint,
    verify_consistent,
    verify_note,
)
from registry.transparency.heads import heads_statement, open_heads
from registry.transparency.merkle import EMPTY_ROOT, ProofError

_RECOVERY = (
    "Put the newest checkpoint of this log there that anybody holds: an exported copy, another machine's, an auditor's."
)


class SignerRefused(RegistryError):
    """The signer refuses a tree that contradicts what it signed before."""

    code = "signer_refused"


class SignerStateCorrupt(RegistryError):
    """The signing key, or the state beside it, cannot be used."""

    code = "signer_state_corrupt"


class Signer:
    """The one who signs the log's checkpoints. Its calls block for a few fsyncs: leave the event loop for them."""

    def __init__(self, path: Path, origin: str) -> None:
        self.path = path
        self.origin = origin
        self._public, self._head, self._heads, self._lock = (
            path.with_name(path.name + end) for end in (".pub", ".head", ".heads", ".lock")
        )

    @classmethod
    def open(cls, path: Path, origin: str, copies: Iterable[str] = ()) -> Signer:
        """The signer whose key is in this file; on first use the key is made.

        `copies` are checkpoints of this log that were kept elsewhere: with any, this is not the first use. A signer
        whose memory is missing takes the newest of them for its own; without any it refuses, because it can't know what
        it has promised. Raises SignerBroken when a file is missing, unreadable, or of another log, CheckpointError when
        a copy is not of this log."""
        signer = cls(path, origin)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        copies = list(copies)
        with signer._locked():
            if signer._is_unused() and not copies:
                signer._create_key_file()
            elif not signer._head.exists():
                signer._persist_head(copies)
            signer._signing_key()
            signer._last()
        return signer

    def verifiers(self) -> tuple[VerifierKey, ...]:
        """All verifier keys of the log, oldest first: any of them may have signed a checkpoint. Raises SignerBroken."""
        try:
            return tuple(VerifierKey.parse(line) for line in self._public.read_text().splitlines())
        except (OSError, ValueError, BadKey) as error:
            raise SignerStateCorrupt(
                reason=f"{self._public} is not a list of verifier keys ({error}): restore it from a backup, or write "
                "into it, one a line and oldest first, the verifier keys that were published."
            ) from error

    def last(self) -> Checkpoint:
        """The last head that was signed; of size 0 when there was none. Raises SignerBroken."""
        return self._last()[1]

    def earlier(self, copies: Iterable[str] = ()) -> tuple[Checkpoint, ...]:
        """The heads that the next one must follow: the last one signed, and those in the copies.

        `sign` needs a consistency proof from each size among them. Raises SignerBroken, CheckpointError."""
        verifiers = self.verifiers()
        return (self.last(), *(open_checkpoint(copy, verifiers) for copy in copies))

    def sign(self, size: int, root: bytes, proofs: Mapping[int, Sequence[bytes]], copies: Sequence[str] = ()) -> str:
        """The signed checkpoint of this tree, kept as the last one before it is given away.

        `proofs` has, by size, the consistency proof from each head of `earlier(copies)` that is neither empty nor of
        this size. Raises SignerRefused when the tree does not continue each of them, CheckpointError when a copy is not
        of this log, SignerBroken."""
        with self._locked():
            key = self._signing_key()
            note, last = self._last()
            head = Checkpoint(self.origin, size, root)
            for earlier in self.earlier(copies):
                self._require_consistency(earlier, head, proofs)
            if head == last and key.verifier == verify_note(note, self.verifiers())[1]:
                return note
            note = key.sign(head.body())
            write_durably(self._head, note, 0o644)
            return note

    def sign_heads(self, heads: bytes) -> str:
        """The signed statement of every stream's last event (heads.py) in the tree that was signed last.

        Of one tree there is one such root. Raises SignerRefused for another one, SignerBroken."""
        with self._locked():
            key = self._signing_key()
            last = self._last()[1]
            said = self._last_heads()
            if said is not None and said[1] == last:
                if said[2] != heads:
                    raise SignerRefused(
                        size=last.size,
                        reason="it has said before which are the last events of its streams, and these are others. The "
                        "log's past was changed: find out by whom, and restore it.",
                    )
                if said[3] == key.verifier:
                    return said[0]
            note = key.sign(heads_statement(last, heads).body())
            write_durably(self._heads, note, 0o644)
            return note

    def _last_heads(self) -> tuple[str, Checkpoint, bytes, VerifierKey] | None:
        try:
            note = self._heads.read_text()
            return (note, *open_heads(note, self.verifiers()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, CheckpointError) as error:
            raise SignerStateCorrupt(
                reason=f"{self._heads} is not the last statement of heads that was signed ({error}): restore it, or "
                "remove it where no copy is left."
            ) from error

    def rotate(self) -> VerifierKey:
        """Makes a new key, which signs from now on; checkpoints signed by the old one verify as before.

        It needs the memory, not the old key: a lost key is replaced like this. Raises SignerBroken."""
        with self._locked():
            self._last()
            verifiers = self.verifiers()
            key = SigningKey.generate(self.origin)
            # The public half first: after a crash in between, the old key signs on, and one entry is of no use.
            write_durably(self._public, "".join(f"{each}\n" for each in (*verifiers, key.verifier)), 0o644)
            self._write_key(key)
            return key.verifier

    def _require_consistency(
        self, earlier: Checkpoint, head: Checkpoint, proofs: Mapping[int, Sequence[bytes]]
    ) -> None:
        size = head.size
        if earlier.size > size:
            raise SignerRefused(
                size=size,
                reason=f"it has signed one of {earlier.size} before. The log has lost events: restore a database that "
                "has them.",
            )
        proof = () if earlier.size in (0, size) else proofs.get(earlier.size)
        if proof is None:
            raise SignerRefused(size=size, reason=f"no proof was given that it continues the one of {earlier.size}.")
        try:
            verify_consistent(earlier, head, proof)
        except ProofError as error:
            raise SignerRefused(
                size=size,
                reason=f"it does not continue the one of {earlier.size} leaves that was signed before. The log's past "
                f"was changed: find out by whom, and restore it. ({error})",
            ) from error

    def _is_unused(self) -> bool:
        # The key is written last, so a first use that was cut short left a memory of the empty tree at most.
        if self.path.exists():
            return False
        return not self._head.exists() or not self.last().size

    def _create_key_file(self) -> None:
        try:
            key = SigningKey.generate(self.origin)
        except BadKey as error:
            raise SignerStateCorrupt(reason=str(error)) from error
        write_durably(self._public, f"{key.verifier}\n", 0o644)
        write_durably(self._head, key.sign(Checkpoint(self.origin, 0, EMPTY_ROOT).body()), 0o644)
        self._write_key(key)

    def _write_key(self, key: SigningKey) -> None:
        try:
            write_durably(self.path, key.secret() + "\n", 0o600)
        except OSError as error:
            # Not chained: a traceback that is printed with its local variables would show the key.
            raise SignerStateCorrupt(reason=f"{self.path} can't be written ({error.strerror}).") from None

    def _persist_head(self, copies: list[str]) -> None:
        verifiers = self.verifiers()
        heads = {copy: open_checkpoint(copy, verifiers) for copy in copies}
        if not heads:
            raise SignerStateCorrupt(
                reason=f"{self._head} is missing, so it is not known what has been signed. {_RECOVERY}"
            )
        newest = max(heads, key=lambda copy: heads[copy].size)
        write_durably(self._head, newest, 0o644)

    def _signing_key(self) -> SigningKey:
        try:
            key = SigningKey.parse(self.path.read_text().removesuffix("\n"))
        except FileNotFoundError:
            raise SignerStateCorrupt(
                reason=f"{self.path} is missing, though checkpoints were signed: restore it from a backup, or rotate "
                "to a new key."
            ) from None
        except (OSError, ValueError, BadKey) as error:
            # Neither chained nor repeated where it could hold a part of the key.
            detail = "it is not text" if isinstance(error, ValueError) else error
            raise SignerStateCorrupt(
                reason=f"{self.path} can't be read ({detail}): restore it from a backup."
            ) from None
        if key.verifier.name != self.origin:
            raise SignerStateCorrupt(
                reason=f"{self.path} signs for {key.verifier.name}, and this log's origin is {self.origin}: a log "
                "keeps its origin for ever."
            )
        if key.verifier not in self.verifiers():
            raise SignerStateCorrupt(
                reason=f"{self._public} does not list the key in {self.path}: restore both together."
            )
        return key

    def _last(self) -> tuple[str, Checkpoint]:
        verifiers = self.verifiers()
        try:
            note = self._head.read_bytes()
            checkpoint = open_checkpoint(note, verifiers)
        except (OSError, CheckpointError) as error:
            raise SignerStateCorrupt(
                reason=f"{self._head} is not the last checkpoint that was signed ({error}) {_RECOVERY}"
            ) from error
        return note.decode(), checkpoint

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def __repr__(self) -> str:
        return f"Signer({str(self.path)!r}, {self.origin!r})"


def write_durably(path: Path, text: str, mode: int) -> None:
    """Replaces the file's content at once, or not at all, and returns when it would survive a power failure."""
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                os.fchmod(file.fileno(), mode)
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        os.fsync(directory)
    finally:
        os.close(directory)
