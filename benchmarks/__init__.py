"""The home of every speed figure: one module per subject, each with `run() -> dict` of ratios measured in one run."""
