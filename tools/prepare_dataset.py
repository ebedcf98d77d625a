"""Turn any supported source of rows into chat-message rows on disk, with a held-out part that is never trained on."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from .base import OutputPath, Result, ToolInput

__all__ = ["PrepareDatasetInput", "PreparedDataset", "prepare_dataset"]


class PrepareDatasetInput(ToolInput):
    source: str = Field(
        min_length=1,
        description="catalogue name, hub id, huggingface://name, local file or folder, https://, s3:// or gs:// address",
    )
    output_dir: OutputPath = Field(default="data/", description="folder that receives <split>/ and heldout/")
    split: str = Field(
        default="train", pattern=r"^[A-Za-z0-9_.-]+$", description="which split of the source to prepare for training"
    )
    limit: int | None = Field(default=None, ge=1, description="use at most this many rows of the source")
    streaming: bool = Field(default=False, description="read a hub source row by row instead of downloading it whole")
    tokenizer: str | None = Field(default=None, description="base model whose tokenizer counts tokens for the card")
    heldout_fraction: float = Field(
        default=0.1, ge=0, le=0.5, description="share of rows kept apart for evaluation (at least 20 rows, at most 500)"
    )
    seed: int = Field(default=42, ge=0, description="seed of the held-out draw")
    on_bad_rows: Literal["error", "skip"] = Field(
        default="error", description="what a broken row does: stop with file and line, or be dropped and counted"
    )
    allow_private_hosts: bool = Field(
        default=False, description="let an https:// source reach loopback and private addresses"
    )

    def reads(self) -> list[Path]:
        raise NotImplementedError

    def writes(self) -> list[Path]:
        return [Path(self.output_dir) / self.split]


class PreparedDataset(Result):
    dataset: str = Field(description="folder of the prepared training rows")
    heldout: str | None = Field(description="folder of the held-out rows; None when the source is too small")
    rows: int
    heldout_rows: int
    shape: str = Field(description="which known row shape the source had")
    duplicates: int = Field(description="rows dropped because the same text stood earlier")
    skipped: int = Field(description="broken rows dropped by on_bad_rows=skip")
    tokens: int | None = Field(description="tokens of the training rows, where `tokenizer` was given")
    sha256: str = Field(description="over the content of training and held-out rows")


def prepare_dataset(request: PrepareDatasetInput) -> PreparedDataset:
    raise NotImplementedError
