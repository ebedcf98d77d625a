"""From chat text to a record of what ran: contract, planner, checks, preview, executor, records, command line."""

if __name__ != "tunesmith.agent":
    raise ImportError(f"this folder is the package `tunesmith.agent`; it was imported as `{__name__}`")
