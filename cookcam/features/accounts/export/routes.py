"""Route of the account export."""

from __future__ import annotations

from quart import Response

from cookcam.features.accounts.export.service import Export
from cookcam.http import (
    Routes,
    document_content,
    document_failures,
    document_header,
    errors_as,
    unconditional,
)
from cookcam.http.quotas import count_costly
from cookcam.identity import Identity
from cookcam.identity.guards import signed_in


def routes(export: Export) -> Routes:
    bp = Routes("export", __name__, legacy=True)

    @bp.get("/auth/account/export")
    @errors_as(unexpected="Failed to export account data")
    @unconditional
    @document_content("application/zip")
    @document_header("Content-Disposition", "The name of the file.")
    @document_header("Cache-Control", "`no-store`.")
    @document_failures(404)
    @signed_in
    async def export_account(caller: Identity) -> Response:
        """All data of the caller as a ZIP archive of JSON files, generated while it is sent."""
        await count_costly("export", caller.user_id)
        return Response(
            await export.open(caller),
            content_type="application/zip",
            headers={
                "Content-Disposition": 'attachment; filename="cookcam-export.zip"',
                "Cache-Control": "no-store",
            },
        )

    return bp
