"""A prepared dataset on disk: Parquet shards, a card for people (README.md) and one for programs (metadata.json).

Columns, by `kind`: `messages` has `messages` and perhaps `tools`; `preference` has `prompt`, `chosen`, `rejected` and
perhaps `tools`; `text` has `text`. A message is `{"role", "content"}`, perhaps with `tool_calls` (JSON text),
`tool_call_id`, `name`; `tools` is JSON text.
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .artifacts import METADATA, is_complete, read_json, write_metadata
from .base import BadRequest, require_extra
from .row_spool import RowSpool

__all__ = ["ROWS_PER_SHARD", "read_card", "read_rows", "write_folder"]

ROWS_PER_SHARD = 50_000
_BATCH = 1000


def read_card(folder: str | Path) -> dict[str, Any]:
    """The metadata.json of a prepared dataset: `kind`, `rows`, `sha256`, `heldout` (relative to the folder), ...

    Raises:
        BadRequest: the folder is no finished prepared dataset.
    """
    path = Path(folder)
    if not is_complete(path):
        what = "is missing" if not path.exists() else "is no prepared dataset, or an unfinished one"
        raise BadRequest(f"`{folder}` {what}; run prepare_dataset and pass the folder that it reports")
    try:
        card = read_json(path / METADATA)
    except ValueError as error:
        raise BadRequest(f"`{path / METADATA}` is damaged: {error}; prepare the dataset again") from error
    if not isinstance(card, dict) or card.get("tool") != "prepare_dataset":
        raise BadRequest(f"`{folder}` is no prepared dataset; pass the folder that prepare_dataset reports")
    return card


def read_rows(folder: str | Path) -> list[dict[str, Any]]:
    """All rows of a prepared dataset, in order, without the columns and message fields that are empty.

    Raises:
        BadRequest: the folder is no finished prepared dataset, or a shard is missing or damaged.
    """
    require_extra("train", "pyarrow")
    import pyarrow as pa
    import pyarrow.parquet as pq

    card, path = read_card(folder), Path(folder)
    rows: list[dict[str, Any]] = []
    try:
        for shard in sorted(path.glob("part-*.parquet")):
            with pq.ParquetFile(shard) as file:
                for batch in file.iter_batches(_BATCH):
                    rows.extend(_without_empty(row) for row in batch.to_pylist())
    except (pa.ArrowException, OSError) as error:
        raise BadRequest(f"`{folder}` is damaged: {str(error).splitlines()[0]}; prepare the dataset again") from error
    if len(rows) != card["rows"]:
        raise BadRequest(f"`{folder}` has {len(rows)} of its {card['rows']} rows; prepare the dataset again")
    return rows


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_empty(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_empty(item) for item in value]
    return value


def write_folder(folder: Path, spool: RowSpool, chosen: Sequence[bool], card: dict[str, Any]) -> dict[str, Any]:
    """Write the chosen rows and their card into an empty new folder; returns the card as written.

    `sha256` is taken over the sha256 of each row's canonical JSON (sorted keys, no spaces, UTF-8), in order.
    """
    folder.mkdir(parents=True)
    shards = _write_shards(folder, spool.tables(chosen))
    picked = [index for index, keep in enumerate(chosen) if keep]
    content = hashlib.sha256()
    for index in picked:
        content.update(spool.digests[index])
    full = {
        "tool": "prepare_dataset",
        "kind": spool.kind,
        "rows": len(picked),
        "shards": shards,
        "sha256": content.hexdigest(),
        "characters": percentiles([spool.characters[index] for index in picked]),
        "tokens": percentiles([spool.tokens[index] for index in picked]) if spool.tokens else None,
        **card,
    }
    (folder / "README.md").write_text(_readme(full), encoding="utf-8")
    write_metadata(folder, full)
    return full


def _write_shards(folder: Path, tables: Iterable[Any]) -> int:
    """Write Arrow tables as Parquet files of ROWS_PER_SHARD rows each; returns how many files."""
    import pyarrow.parquet as pq

    count, room = 0, 0
    writer: Any = None
    try:
        for table in tables:
            while table.num_rows:
                if room == 0:
                    if writer is not None:
                        writer.close()
                    writer = pq.ParquetWriter(folder / f"part-{count:05d}.parquet", table.schema, compression="zstd")
                    count, room = count + 1, ROWS_PER_SHARD
                part, table = table.slice(0, room), table.slice(room)
                writer.write_table(part)
                room -= part.num_rows
    finally:
        if writer is not None:
            writer.close()
    return count


def percentiles(values: list[int]) -> dict[str, int]:
    """Total, smallest, largest and nearest-rank percentiles of the values; empty where there are none.

    >>> percentiles([1, 2, 3, 4])
    {'total': 10, 'min': 1, 'p50': 2, 'p90': 4, 'p95': 4, 'p99': 4, 'max': 4}
    """
    if not values:
        return {}
    ordered = sorted(values)
    ranks = {f"p{percent}": ordered[-(-len(ordered) * percent // 100) - 1] for percent in (50, 90, 95, 99)}
    return {"total": sum(ordered), "min": ordered[0], **ranks, "max": ordered[-1]}


def _readme(card: dict[str, Any]) -> str:
    """The card for people."""
    facts = {
        "rows": f"{card['rows']:,}",
        **({"held-out rows": f"{card['heldout_rows']:,}"} if "heldout_rows" in card else {}),
        "stored as": {"messages": "conversations", "preference": "preference pairs", "text": "raw text"}[card["kind"]],
        "shape of the source": card["shape"],
        "source": card["source"],
        "duplicates dropped": f"{card['duplicates']:,}",
        "broken rows dropped": f"{card['skipped']:,}",
        "sha256": card["sha256"],
    }
    lines = [f"# {card['title']}", "", card["purpose"], "", "| | |", "|---|---|"]
    lines += [f"| {name} | {_cell(value)} |" for name, value in facts.items()]
    units = [(name, card[name]) for name in ("characters", "tokens") if card.get(name)]
    if units:
        names = list(units[0][1])
        lines += ["", "## Length of a row", "", f"| | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
        lines += [f"| {unit} | {' | '.join(f'{value:,}' for value in sizes.values())} |" for unit, sizes in units]
    lines += ["", "Read it with `tunesmith.tools.dataset_folder.read_rows`.", ""]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", r"\|").replace("\n", " ")
