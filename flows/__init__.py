"""Operations on top of DVC's pipeline: Prefect flows that run its stages one by one, and release what came out.

Importing this package sets how Prefect behaves here, unless the environment says otherwise, so it comes before Prefect's own import.
"""
import os
import signal
import sys

for _name, _value in {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "300",  # a flow without a server starts its own, slowly on a busy machine
    "DO_NOT_TRACK": "true",  # the only spelling that MLflow accepts
    "DVC_NO_ANALYTICS": "1",
}.items():
    os.environ.setdefault(_name, _value)


def exit_on_sigterm() -> None:
    """Makes a polite kill of a flow run by hand an ordinary exit; otherwise the server that Prefect started for it stays behind."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
