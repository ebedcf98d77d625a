"""`tunesmith config`: what is decided once for all folders."""

import argparse

from .settings import SETTINGS, change, setting, settings_file

__all__ = ["run_config_command"]


def run_config_command(arguments: list[str]) -> int:
    """Show all settings, show one, or set one; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="tunesmith config",
        description="Show or change what holds for all folders. Without arguments all settings are shown.",
        epilog=f"settings are kept in {settings_file()}",
    )
    parser.add_argument("name", nargs="?", choices=[*SETTINGS], metavar="NAME", help=", ".join(SETTINGS))
    parser.add_argument("value", nargs="?", help="true or false")
    options = parser.parse_args(arguments)
    if options.name is None:
        for name, (_, meaning) in SETTINGS.items():
            print(f"{name} = {str(setting(name)).lower()}  ({meaning})")
    elif options.value is None:
        print(str(setting(options.name)).lower())
    else:
        print(f"{options.name} = {str(change(options.name, options.value)).lower()}")
    return 0
