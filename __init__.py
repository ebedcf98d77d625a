"""Tunesmith: one sentence in, a fine-tuned, exported and measured language model out.

Nothing is imported here: the repository root is the package folder, and test runners import this file under
the folder's own name as well. Public names resolve on first use.
"""

__all__ = ["Session"]


def __getattr__(name: str) -> object:
    if name == "Session":
        from tunesmith.agent.session import Session

        return Session
    raise AttributeError(f"module 'tunesmith' has no attribute {name!r}")
