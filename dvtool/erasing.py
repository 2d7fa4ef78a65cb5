"""The part of the public API that takes data out of every version: see :class:`dvtool.repo.Repo`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dvtool.shared import SharedRepo, several

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dvtool.operations.clones import CloneItem
    from dvtool.operations.erase import EraseResult
    from dvtool.operations.erasure import DecisionItem, ErasureDetails, ErasureItem, VerifyResult


class ErasingRepo(SharedRepo):
    """A repository from which data can be erased."""

    def erase(
        self,
        targets: Sequence[str] = (),
        *,
        subjects: Sequence[str] = (),
        authors: Sequence[str] = (),
        copies: str = "",
        keep_path: bool = False,
        redact_text: bool = False,
        request: str = "",
        ground: str = "",
        everything: bool = False,
        plan: bool = False,
        agreed: EraseResult | None = None,
    ) -> EraseResult:
        """Take files out of every version; see :func:`dvtool.operations.erase.erase`."""
        from dvtool.operations import erase

        return erase.erase(
            self._workspace,
            several(targets),
            subjects=subjects,
            authors=authors,
            copies=copies,
            keep_path=keep_path,
            redact_text=redact_text,
            request=request,
            ground=ground,
            everything=everything,
            plan=plan,
            agreed=agreed,
        )

    def erasures(self) -> list[ErasureItem]:
        """Return all erasures; see :func:`dvtool.operations.erasure.erasures`."""
        from dvtool.operations import erasure

        return erasure.erasures(self._workspace)

    def erasure(self, identity: str | None = None) -> ErasureDetails:
        """Return one erasure as a whole; see :func:`dvtool.operations.erasure.details`."""
        from dvtool.operations import erasure

        return erasure.details(self._workspace, identity)

    def verify_erasure(self, identity: str | None = None, *, deep: bool = False) -> VerifyResult:
        """Look whether anything is left; see :func:`dvtool.operations.erasure.verify`."""
        from dvtool.operations import erasure

        return erasure.verify(self._workspace, identity, deep=deep)

    def resume_erasure(self, identity: str | None = None) -> ErasureItem:
        """Go on with an erasure that was stopped; see :func:`dvtool.operations.erasure.resume`."""
        from dvtool.operations import erasure

        return erasure.resume(self._workspace, identity)

    def abort_erasure(self, identity: str | None = None) -> str:
        """Give up an erasure of which nothing is done yet; see :func:`dvtool.operations.erasure.abort`."""
        from dvtool.operations import erasure

        return erasure.abort(self._workspace, identity)

    def erasure_certificate(self, identity: str | None = None) -> bytes:
        """Return the certificate of an erasure; see :func:`dvtool.operations.erasure.certify`."""
        from dvtool.operations import erasure

        return erasure.certify(self._workspace, identity)

    def save_certificate(self, identity: str | None, target: str) -> None:
        """Write a certificate to a new file; see :func:`dvtool.operations.erasure.save_certificate`."""
        from dvtool.operations import erasure

        erasure.save_certificate(self._workspace, identity, target)

    def decide_erasure(self, identity: str, run: str, decision: str, *, note: str = "") -> DecisionItem:
        """Note what becomes of a model; see :func:`dvtool.operations.erasure.decide`."""
        from dvtool.operations import erasure

        return erasure.decide(self._workspace, identity, run, decision, note)

    def clones(self, remote: str | None = None) -> list[CloneItem]:
        """Return the clones that remotes know; see :func:`dvtool.operations.clones.list_clones`."""
        from dvtool.operations import clones

        return clones.list_clones(self._workspace, remote)

    def forget_clone(self, clone: str, remote: str | None = None) -> list[CloneItem]:
        """Record that a clone is gone; see :func:`dvtool.operations.clones.forget`."""
        from dvtool.operations import clones

        return clones.forget(self._workspace, clone, remote)
