"""Turn any supported source of rows into chat-message rows on disk, with a held-out part that is never trained on."""

import errno
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field

from .base import BadRequest, OutputPath, Result, ToolFailed, ToolInput, note, require_extra
from .heldout import MAX_HELDOUT, draw, heldout_size
from .locations import local_path, scheme_of

if TYPE_CHECKING:
    from .row_spool import RowSpool, TokenCounter

__all__ = ["PrepareDatasetInput", "PreparedDataset", "prepare_dataset"]

HELDOUT = "heldout"


def _name_of_a_split(value: str) -> str:
    if value == HELDOUT or value.endswith(".partial"):
        raise ValueError(f"`{value}` is a name that Tunesmith uses itself; choose another, such as train")
    return value


class PrepareDatasetInput(ToolInput):
    source: str = Field(
        min_length=1,
        description="catalogue name, hub id, huggingface://name, local file or folder, https://, s3://, gs:// address",
    )
    output_dir: OutputPath = Field(default="data/", description="folder that receives <split>/ and heldout/")
    split: Annotated[str, AfterValidator(_name_of_a_split)] = Field(
        default="train",
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$",
        description="which split of the source to prepare for training",
    )
    limit: int | None = Field(default=None, ge=1, description="use at most this many rows of the source")
    streaming: bool = Field(default=False, description="read a hub source row by row instead of downloading it whole")
    tokenizer: str | None = Field(default=None, description="base model whose tokenizer counts tokens for the card")
    heldout_fraction: float = Field(
        default=0.1,
        ge=0,
        le=0.5,
        description="share of rows kept apart for evaluation (at least 20 rows, at most 500, never over half)",
    )
    seed: int = Field(default=42, ge=0, description="seed of the held-out draw")
    on_bad_rows: Literal["error", "skip"] = Field(
        default="error", description="what a broken row does: stop with file and line, or be dropped and counted"
    )
    allow_private_hosts: bool = Field(
        default=False, description="let an https:// source reach loopback and private addresses"
    )

    def reads(self) -> list[Path]:
        path = local_path(self.source)
        return [] if path is None else [path]

    def writes(self) -> list[Path]:
        return [Path(self.output_dir) / self.split, Path(self.output_dir) / HELDOUT]


class PreparedDataset(Result):
    dataset: str = Field(description="folder of the prepared training rows")
    heldout: str | None = Field(description="folder of the held-out rows; None when the source is too small")
    rows: int
    heldout_rows: int
    shape: str = Field(description="which known row shape the source had")
    duplicates: int = Field(description="rows dropped because the same text stood earlier")
    skipped: int = Field(description="broken rows dropped by on_bad_rows=skip")
    tokens: int | None = Field(description="tokens of the training rows, where `tokenizer` was given")
    sha256: str = Field(description="over the content of the training rows, as in the folder's metadata.json")

    def summary(self) -> str:
        heldout = f"{self.heldout_rows:,} held-out rows in {self.heldout}" if self.heldout else "no held-out rows"
        dropped = [
            f"{count:,} {what} dropped"
            for count, what in ((self.duplicates, "duplicates"), (self.skipped, "broken"))
            if count
        ]
        tokens = [f"{self.tokens:,} tokens"] if self.tokens is not None else []
        details = ", ".join([f"read as {self.shape}", *tokens, *dropped])
        return f"{self.rows:,} training rows in {self.dataset}, {heldout} ({details})"


def prepare_dataset(request: PrepareDatasetInput) -> PreparedDataset:
    """Read a source, convert its rows, hold some out, and write two folders that are complete or absent.

    The folder with the training rows appears last and marks the end. What an interrupted call left is cleared away;
    the same call on the same rows again leaves a finished data set as it is.

    Raises:
        BadRequest: the source cannot be read, has broken rows, or the output is taken by other rows.
        MissingExtra: the library for the source's scheme is not installed.
        ToolFailed: the disk is full.
    """
    from .dataset_outputs import only_one, refuse_taken, remove

    refuse_taken(request.writes(), _recorded(request))
    output_dir = Path(request.output_dir)
    partials = [path.with_name(path.name + ".partial") for path in request.writes()]
    scratch = output_dir / f"{request.split}.scratch.partial"
    try:
        with only_one(output_dir):
            try:
                for leftover in (*partials, scratch):
                    remove(leftover)
                scratch.mkdir()
                return _prepare(request, scratch, partials)
            finally:
                for leftover in (*partials, scratch):
                    remove(leftover)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ToolFailed(f"the disk of `{output_dir}` is full; free some space and run it again") from error
        if isinstance(error, PermissionError | NotADirectoryError | FileExistsError) or error.errno == errno.EROFS:
            raise BadRequest(f"`{output_dir}` can't be written to ({error.strerror}); choose another") from error
        raise


def _recorded(request: PrepareDatasetInput) -> dict[str, Any]:
    """The arguments as they go to disk: what follows the path of an address may be a key to it."""
    arguments = request.model_dump()
    if scheme_of(request.source):
        arguments["source"] = request.source.split("?", 1)[0]
    return arguments


def _prepare(request: PrepareDatasetInput, scratch: Path, partials: list[Path]) -> PreparedDataset:
    from .dataset_folder import write_folder
    from .dataset_outputs import publish
    from .intake import Intake
    from .sources import Ask, open_source

    dataset, heldout = request.writes()
    ask = Ask(
        source=request.source,
        split=request.split,
        streaming=request.streaming,
        allow_private_hosts=request.allow_private_hosts,
        scratch=scratch,
        outputs=(dataset, heldout),
    )
    source = open_source(ask)
    count_tokens = None if request.tokenizer is None else _token_counter(request.tokenizer)
    intake = Intake(request.source, request.on_bad_rows, count_tokens)
    rows = intake.collect(source.rows, request.limit, scratch / "rows.jsonl")
    if rows is None:
        raise BadRequest(f"`{request.source}` has no rows; pass a source with at least one")
    own = None
    if source.heldout is not None and request.heldout_fraction > 0:
        own = intake.collect(source.heldout, request.limit, scratch / "heldout.jsonl")
    assert intake.shape is not None
    apart = own if own is not None else rows
    keys = _draw_heldout(request, rows, own)
    kept = [key not in keys for key in rows.keys]
    if not any(kept):
        raise BadRequest(
            f"every row of `{request.source}` stands in its held-out part as well; nothing is left to train on"
        )
    _remark(request, rows, own, keys)
    card = {
        "source": source.resolved,
        "shape": intake.shape.name,
        "duplicates": rows.duplicates,
        "skipped": intake.skipped,
        "arguments": _recorded(request),
    }
    train_card = {
        **card,
        "title": f"Training rows from {source.resolved}",
        "purpose": f"Prepared by Tunesmith for training. The held-out rows are in `../{HELDOUT}`."
        if keys
        else "Prepared by Tunesmith for training. There are no held-out rows.",
        "heldout": f"../{HELDOUT}" if keys else None,
        "heldout_rows": sum(key in keys for key in apart.keys),
    }
    written = write_folder(partials[0], rows, kept, train_card)
    if keys:
        heldout_card = {
            **card,
            "title": f"Held-out rows from {source.resolved}",
            "purpose": "Kept apart by Tunesmith for evaluation, never trained on. "
            f"The training rows are in `../{request.split}`.",
            "duplicates": apart.duplicates,
            "dataset": f"../{request.split}",
        }
        write_folder(partials[1], apart, [key in keys for key in apart.keys], heldout_card)
    publish(partials, request.writes(), request.source)
    return PreparedDataset(
        dataset=str(dataset),
        heldout=str(heldout) if keys else None,
        rows=written["rows"],
        heldout_rows=written["heldout_rows"],
        shape=intake.shape.name,
        duplicates=rows.duplicates + (own.duplicates if own is not None else 0),
        skipped=intake.skipped,
        tokens=written["tokens"]["total"] if written["tokens"] else None,
        sha256=written["sha256"],
    )


def _draw_heldout(request: PrepareDatasetInput, rows: "RowSpool", own: "RowSpool | None") -> set[int]:
    """Keys of the rows to hold out: from the part that the source itself keeps apart, or else from all rows."""
    if own is not None:
        return draw(own.keys, min(len(own), MAX_HELDOUT), request.seed)
    if len(set(rows.keys)) < 2:
        return set()  # all rows ask the same; both sides would share it
    return draw(rows.keys, heldout_size(len(rows), request.heldout_fraction), request.seed)


def _remark(request: PrepareDatasetInput, rows: "RowSpool", own: "RowSpool | None", keys: set[int]) -> None:
    """Tell what a person might not expect of the held-out part."""
    if own is not None:
        lost = sum(key in keys for key in rows.keys)
        if lost:
            note(f"{lost:,} training rows ask what held-out rows ask; they are dropped")
        return
    wanted = heldout_size(len(rows), request.heldout_fraction)
    got = sum(key in keys for key in rows.keys)
    if request.heldout_fraction == 0:
        note("no rows are held out, as asked")
    elif wanted == 0:
        note(f"{len(rows)} rows are too few to hold any out; at least 10 are needed")
    elif got < wanted:
        note(f"{got:,} instead of {wanted:,} rows are held out: the others share their question with too many rows")


def _token_counter(name: str) -> "TokenCounter":
    """Count tokens as the base model `name` does, without special tokens and chat template."""
    from .base_models import fetch_tokenizer

    file = fetch_tokenizer(name) / "tokenizer.json"
    if not file.is_file():
        raise BadRequest(f"the base model `{name}` has no tokenizer.json to count with; leave `tokenizer` out")
    require_extra("train", "tokenizers")
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_truncation()
    return lambda texts: sum(len(item) for item in tokenizer.encode_batch_fast(texts, add_special_tokens=False))
