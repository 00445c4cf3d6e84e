"""The datasets and one dataset's rows."""

from __future__ import annotations

from anyio import to_thread
from starlette.responses import Response

from weftline.errors import NotFoundError, nearest
from weftline.service.views import DatasetRow
from weftline.web.render import Visit, page
from weftline.web.rows import PLACE, cells_of

__all__ = ["dataset", "datasets"]

PAGE = 50
FILTERABLE = (*PLACE, "feed", "contract")


async def datasets(visit: Visit) -> Response:
    """Show the catalogue of datasets."""
    found = await to_thread.run_sync(visit.site.road.datasets)
    text = visit.query("q").casefold()
    shown = [row for row in found if text in f"{row.name} {row.description}".casefold()]
    return page(visit, "datasets.html", rows=shown, total=len(found), text=visit.query("q"), topics="")


def _named(found: list[DatasetRow], name: str) -> DatasetRow:
    for row in found:
        if row.name == name:
            return row
    raise NotFoundError(
        place=f"dataset '{name}'",
        found="no dataset of this name",
        expected="a dataset that a contract writes",
        next_step=nearest(name, [row.name for row in found]),
    )


async def dataset(visit: Visit) -> Response:
    """Show rows of one dataset, newest first; a parameter that names a column filters by equality."""
    spec = _named(list(await to_thread.run_sync(visit.site.road.datasets)), visit.request.path_params["name"])
    known = {column.name for column in spec.columns} | set(FILTERABLE)
    where = [(name, value[:400]) for name, value in visit.request.query_params.multi_items() if name in known and value]
    column, value = visit.query("column"), visit.query("value")
    if column in known and value:
        where.append((column, value))
    found = await visit.site.reading.rows(visit.asker, spec.name, where, visit.query("after"), PAGE)
    kept = dict(where)
    return page(
        visit, "dataset.html", spec=spec, found=found, cells=cells_of(found.table), where=where, kept=kept,
        filterable=[column.name for column in spec.columns], topics="",
    )  # fmt: skip
