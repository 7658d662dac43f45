"""What must not be read in a log, a record or a page: passwords in addresses, and those that the environment holds."""
from __future__ import annotations

import os
import re

IN_ADDRESS = re.compile(r"(?P<before>\b[a-z][\w+.-]*://[^\s:/@]*):[^\s/@]+(?=@)", re.IGNORECASE)
SECRETS = ("PGPASSWORD", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "PREFECT_API_KEY")
SHORTEST = 6  # letters of a value that is taken out wherever it stands: shorter ones are words of their own


def redacted(text: str) -> str:
    """`text` without passwords: `postgresql://anna:secret@host/db` becomes `postgresql://anna:***@host/db`."""
    text = IN_ADDRESS.sub(r"\g<before>:***", text)
    for name in SECRETS:
        value = os.environ.get(name, "")
        if len(value) >= SHORTEST:
            text = text.replace(value, "***")
    return text
