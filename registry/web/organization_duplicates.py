"""Organizations that may be the same one: an editor reviews each cluster, merges what is one, and can undo it."""

from __future__ import annotations

from typing import Annotated

from litestar import Controller, Response, post, route
from litestar.di import NamedDependency

from registry.append.organization_merges import Merge, OrganizationMerges
from registry.domain.principal import Credential
from registry.http.guards import check_scope
from registry.http.parameters import integer
from registry.i18n import Message
from registry.queries.named_organizations import NamedOrganizations
from registry.web.page import render
from registry.web.page.request import READ, Page, PageRequest, redirect
from registry.web.sign_in.session import read_signed_form, require_key

PAGE_SIZE = 25

Skip = Annotated[int | None, integer("Clusters to leave out from the beginning.", 0, 1_000_000)]


class DuplicatePages(Controller):
    """The review of duplicates."""

    @route("/organization-duplicates", http_method=READ)
    async def get_duplicates(
        self, page: Page, named_organizations: NamedDependency[NamedOrganizations], skip: Skip = None
    ) -> Response[bytes]:
        """Clusters of organizations whose names collide."""
        require_key(page)
        return await _show(page, named_organizations, skip or 0)

    @post("/organization-duplicates", status_code=303)
    async def post_duplicates(
        self,
        page: Page,
        organization_merges: NamedDependency[OrganizationMerges],
        named_organizations: NamedDependency[NamedOrganizations],
        skip: Skip = None,
    ) -> Response[bytes]:
        """Merge the organizations that were marked in one cluster into the one that is kept."""
        key, sent = await _sent(page)
        check_scope(key, "record")
        into = sent.get("keep", "")
        marked = [name.removeprefix("merge:") for name in sent if name.startswith("merge:")]
        merges = [Merge(slug, into) for slug in marked if slug != into]
        results = await organization_merges.merge(key, merges) if into else []
        problems = [one.error.message for one in results if one.error is not None]
        if problems:
            return await _show(page, named_organizations, skip or 0, problems, 409)
        return redirect(page.link("/organization-duplicates", skip=skip or None))

    @post("/organization-duplicates/undo", status_code=303)
    async def post_undo(self, page: Page, organization_merges: NamedDependency[OrganizationMerges]) -> Response[bytes]:
        """Undo the merge of an organization."""
        key, sent = await _sent(page)
        merge = Merge(sent.get("organization", ""), sent.get("into", ""))
        [result] = await organization_merges.unmerge(key, [merge])
        if result.error is not None:
            raise result.error
        return redirect(page.link(f"/organizations/{merge.organization}"))


async def _sent(page: PageRequest) -> tuple[Credential, dict[str, str]]:
    """Who sends a form, with the right to merge, and the form's fields."""
    sent, key = await read_signed_form(page)
    check_scope(key, "correct")
    return key, sent


async def _show(
    page: PageRequest, named: NamedOrganizations, skip: int, problems: list[Message] | None = None, status: int = 200
) -> Response[bytes]:
    clusters = await named.clusters()
    return render.send(
        page,
        render.render(
            page,
            "organization_duplicates.html",
            status,
            clusters=clusters[skip : skip + PAGE_SIZE],
            total=len(clusters),
            next=skip + PAGE_SIZE if len(clusters) > skip + PAGE_SIZE else None,
            may_merge=page.key is not None and page.key.allows("correct"),
            problems=problems or [],
        ),
    )
