"""The README.md of a run folder: what was trained, on what, how, and how it went."""

from typing import Any

__all__ = ["model_card"]


def model_card(name: str, metadata: dict[str, Any]) -> str:
    """The card as Markdown with a YAML head, from a run's metadata.

    Args:
        name: of the run.
        metadata: as in the run's metadata.json. Paths are shown by their last component only.
    """
    method = {"sft": "supervised fine-tuning", "dpo": "direct preference optimisation"}[metadata["method"]]
    arguments = metadata["arguments"]
    rank = arguments["lora_r"]
    how = f"{method} with LoRA (rank {rank}, alpha {arguments['lora_alpha']})" if rank else f"{method} of every weight"
    figures = {
        "steps": metadata["steps"],
        "rows trained on": metadata["trained_rows"],
        "rows dropped (no token to learn from)": metadata["dropped_rows"],
        "supervised tokens per pass": f"{metadata['supervised_tokens']:,}",
        "loss, first steps": f"{metadata['first_loss']:.4f}",
        "loss, last steps": f"{metadata['final_loss']:.4f}",
        "training time": f"{metadata['seconds']:.0f} s",
        "speed": f"{metadata['tokens_per_second']:.0f} useful tokens/s",
        "peak memory": f"{metadata['peak_memory_gib']:.2f} GiB",
        "device": metadata["device"],
    }
    shown = {key: value for key, value in arguments.items() if key not in ("base_model", "dataset", "output_dir")}
    lines = [
        "---",
        f"base_model: {metadata['base_model_id']}",
        "library_name: " + ("peft" if rank else "transformers"),
        "pipeline_tag: text-generation",
        "tags: [tunesmith]",
        "---",
        "",
        f"# {name}",
        "",
        f"{metadata['base_model_id']}, tuned by {how}.",
        "",
        "## Data",
        "",
        f"`{metadata['dataset_name']}`, {metadata['dataset_rows']} rows of kind `{metadata['dataset_kind']}`, "
        f"sha256 `{metadata['dataset_sha256']}`. Only the assistant's words count in the loss."
        if metadata["dataset_kind"] == "messages"
        else f"`{metadata['dataset_name']}`, {metadata['dataset_rows']} rows of kind `{metadata['dataset_kind']}`, "
        f"sha256 `{metadata['dataset_sha256']}`.",
        "",
        *(f"- {note}" for note in metadata["notes"]),
        *([""] if metadata["notes"] else []),
        "## Figures",
        "",
        "| | |",
        "|---|---|",
        *(f"| {key} | {value} |" for key, value in figures.items()),
        "",
        "![loss](loss.png)",
        "",
        "## Arguments",
        "",
        "| argument | value |",
        "|---|---|",
        *(f"| `{key}` | {_cell(value)} |" for key, value in shown.items()),
        "",
        "## Versions",
        "",
        ", ".join(f"{package} {version}" for package, version in metadata["versions"].items()),
        "",
    ]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else "" if value is None else str(value)
