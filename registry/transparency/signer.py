"""Sign checkpoints with the log's key, and never contradict what was signed before.

The key is a file outside the database, or several services share it (signing_keys.py). The state files are `.pub`, all
verifier keys that the log has had, oldest first; `.head`, the checkpoint that was signed last; `.heads`, the statement
of heads that was signed last; `.lock`. A signature is returned only after it is on disk. So neither a crash, nor a
restored database, nor a second process makes this key sign a smaller or a different tree.

The signer does not read the database: the caller passes in root and proofs. It caches and logs nothing.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from registry.errors import RegistryError
from registry.i18n import Parameter
from registry.infra.files import write_durably
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
from registry.transparency.findings import Finding
from registry.transparency.heads import heads_statement, open_heads
from registry.transparency.merkle import EMPTY_ROOT, ProofError


class SignerRefused(RegistryError):
    """The signer refuses a tree that contradicts what it signed before."""

    code = "signer_refused"


class SignedTreeContradicted(SignerRefused):
    """The tree is smaller than one that was signed, or differs from it; `signed` is the size of that one."""


class SignerStateCorrupt(RegistryError):
    """The signing key, or the state beside it, cannot be used."""

    code = "signer_state_corrupt"


class Signer:
    """Signs the log's checkpoints. Calls block for a few fsyncs: run them in a thread."""

    def __init__(self, path: Path, origin: str, shared_key: SigningKey | None = None) -> None:
        self.path = path
        self.origin = origin
        self._shared_key = shared_key
        self._public, self._head, self._heads, self._lock = (
            path.with_name(path.name + end) for end in (".pub", ".head", ".heads", ".lock")
        )

    @classmethod
    def open(
        cls,
        path: Path,
        origin: str,
        copies: Iterable[str] = (),
        *,
        shared_key: SigningKey | None = None,
        known: Iterable[str] = (),
    ) -> Signer:
        """Open the signer whose key is in this file. Creates the key on first use.

        Args:
            path: The file of the signing key.
            origin: The log's origin, which is the key's name.
            copies: Checkpoints of this log that were kept elsewhere. If there are any, this is not the first use. If
                the `.head` file is missing, the newest copy replaces it; without a copy the signer refuses to start,
                because it cannot know what it has signed.
            shared_key: The key that several services share. The state then begins with what is known elsewhere.
            known: The public keys that are known elsewhere, oldest first.

        Raises:
            SignerStateCorrupt: A file is missing, unreadable, or of another log.
            CheckpointError: A copy is not of this log.
        """
        signer = cls(path, origin, shared_key)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        copies = list(copies)
        with signer._locked():
            if shared_key is not None:
                signer._adopt(shared_key, known, copies)
            elif signer._is_unused() and not copies:
                signer._create_key_file()
            elif not signer._head.exists():
                signer._persist_head(copies)
            signer._signing_key()
            signer._last()
        return signer

    def check(self) -> None:
        """Read the key and what was signed last, if there is a key, and change nothing.

        Raises SignerStateCorrupt.
        """
        if not self._is_unused():
            self._signing_key()
            self._last()

    def verifiers(self) -> tuple[VerifierKey, ...]:
        """All verifier keys of the log, oldest first. Any of them may have signed a checkpoint.

        Raises SignerStateCorrupt.
        """
        try:
            return tuple(VerifierKey.parse(line) for line in self._public.read_text().splitlines())
        except (OSError, ValueError, BadKey) as error:
            raise SignerStateCorrupt(
                reason=Finding("state_keys", file=str(self._public), problem=_message_of(error))
            ) from error

    def last(self) -> Checkpoint:
        """The checkpoint that was signed last, of size 0 if there is none. Raises SignerStateCorrupt."""
        return self._last()[1]

    def earlier(self, copies: Iterable[str] = ()) -> tuple[Checkpoint, ...]:
        """The checkpoints that the next one must be consistent with: the last one signed, and the copies.

        `sign` needs a consistency proof from each of their sizes. Raises SignerStateCorrupt, CheckpointError.
        """
        verifiers = self.verifiers()
        return (self.last(), *(open_checkpoint(copy, verifiers) for copy in copies))

    def sign(self, size: int, root: bytes, proofs: Mapping[int, Sequence[bytes]], copies: Sequence[str] = ()) -> str:
        """Sign a checkpoint of this tree. It is on disk before it is returned.

        Args:
            size: Leaves of the tree.
            root: Its root.
            proofs: By size, the consistency proof from each checkpoint of `earlier(copies)` that is neither empty nor
                of this size.
            copies: Checkpoints of this log that were kept elsewhere.

        Raises:
            SignerRefused: The tree is not consistent with each of the earlier checkpoints.
            CheckpointError: A copy is not of this log.
            SignerStateCorrupt: The key or the state cannot be used.
        """
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
        """Sign the statement of heads (heads.py) for the checkpoint that was signed last.

        Raises:
            SignerRefused: Another root of heads was signed for the same checkpoint.
            SignerStateCorrupt: The key or the state cannot be used.
        """
        with self._locked():
            key = self._signing_key()
            last = self._last()[1]
            signed = self._last_heads()
            if signed is not None and signed[1] == last:
                if signed[2] != heads:
                    raise SignerRefused(size=last.size, reason=Finding("signer_heads_changed"))
                if signed[3] == key.verifier:
                    return signed[0]
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
                reason=Finding("state_heads", file=str(self._heads), problem=_message_of(error))
            ) from error

    def rotate(self, copies: Sequence[str] = ()) -> VerifierKey:
        """Replace the signing key with a new one. Checkpoints signed with the old key still verify.

        Works without the old key, so it also replaces a lost one. If the `.head` file is lost too, the newest of the
        copies replaces it, as in `open`. Raises SignerStateCorrupt, CheckpointError.
        """
        with self._locked():
            if not self._head.exists():
                self._persist_head(list(copies))
            self._last()
            verifiers = self.verifiers()
            key = SigningKey.generate(self.origin)
            # The public key first: after a crash in between, the old key goes on signing and one listed key is unused.
            write_durably(self._public, "".join(f"{each}\n" for each in (*verifiers, key.verifier)), 0o644)
            self._write_key(key)
            return key.verifier

    def _require_consistency(
        self, earlier: Checkpoint, head: Checkpoint, proofs: Mapping[int, Sequence[bytes]]
    ) -> None:
        size = head.size
        if earlier.size > size:
            reason = Finding("signer_log_shorter", earlier=earlier.size)
            raise SignedTreeContradicted(size=size, reason=reason, signed=earlier.size)
        proof = () if earlier.size in (0, size) else proofs.get(earlier.size)
        if proof is None:
            raise SignerRefused(size=size, reason=Finding("signer_proof_missing", earlier=earlier.size))
        try:
            verify_consistent(earlier, head, proof)
        except ProofError as error:
            finding = Finding("signer_log_changed", earlier=earlier.size, problem=error.message)
            raise SignedTreeContradicted(size=size, reason=finding, signed=earlier.size) from error

    def _adopt(self, key: SigningKey, known: Iterable[str], copies: list[str]) -> None:
        """Bring the state of this host up to what other services have done with a shared key."""
        listed = [str(verifier) for verifier in self.verifiers()] if self._public.exists() else []
        keys = list(dict.fromkeys([*known, *listed, str(key.verifier)]))
        if keys != listed:
            write_durably(self._public, "".join(f"{each}\n" for each in keys), 0o644)
        if self._head.exists():
            return
        if copies:
            self._persist_head(copies)
        else:
            write_durably(self._head, key.sign(Checkpoint(self.origin, 0, EMPTY_ROOT).body()), 0o644)

    def _is_unused(self) -> bool:
        # The key is written last: an interrupted first use leaves at most the checkpoint of the empty tree.
        if self.path.exists():
            return False
        return not self._head.exists() or not self.last().size

    def _create_key_file(self) -> None:
        try:
            key = SigningKey.generate(self.origin)
        except BadKey as error:
            raise SignerStateCorrupt(reason=error.message) from error
        write_durably(self._public, f"{key.verifier}\n", 0o644)
        write_durably(self._head, key.sign(Checkpoint(self.origin, 0, EMPTY_ROOT).body()), 0o644)
        self._write_key(key)

    def _write_key(self, key: SigningKey) -> None:
        try:
            write_durably(self.path, key.secret() + "\n", 0o600)
        except OSError as error:
            # Not chained: a traceback with local variables would show the key.
            finding = Finding("state_key_unwritable", file=str(self.path), problem=error.strerror or "")
            raise SignerStateCorrupt(reason=finding) from None

    def _persist_head(self, copies: list[str]) -> None:
        verifiers = self.verifiers()
        heads = {copy: open_checkpoint(copy, verifiers) for copy in copies}
        if not heads:
            raise SignerStateCorrupt(reason=Finding("state_head_missing", file=str(self._head)))
        newest = max(heads, key=lambda copy: heads[copy].size)
        write_durably(self._head, newest, 0o644)

    def _signing_key(self) -> SigningKey:
        try:
            key = self._shared_key or SigningKey.parse(self.path.read_text().removesuffix("\n"))
        except FileNotFoundError:
            raise SignerStateCorrupt(reason=Finding("state_key_missing", file=str(self.path))) from None
        except (OSError, ValueError, BadKey) as error:
            # Not chained, and without the text of a ValueError: both could show a part of the key.
            problem = Finding("state_not_text") if isinstance(error, ValueError) else _message_of(error)
            raise SignerStateCorrupt(reason=Finding("state_key", file=str(self.path), problem=problem)) from None
        if key.verifier.name != self.origin:
            finding = Finding("state_key_origin", file=str(self.path), key=key.verifier.name, origin=self.origin)
            raise SignerStateCorrupt(reason=finding)
        if key.verifier not in self.verifiers():
            finding = Finding("state_key_unlisted", file=str(self.path), keys=str(self._public))
            raise SignerStateCorrupt(reason=finding)
        return key

    def _last(self) -> tuple[str, Checkpoint]:
        verifiers = self.verifiers()
        try:
            note = self._head.read_bytes()
            checkpoint = open_checkpoint(note, verifiers)
        except (OSError, CheckpointError) as error:
            raise SignerStateCorrupt(
                reason=Finding("state_head", file=str(self._head), problem=_message_of(error))
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


def _message_of(error: Exception) -> Parameter:
    if isinstance(error, OSError) and error.strerror is not None:
        return error.strerror
    return error.message if isinstance(error, RegistryError) else str(error)
