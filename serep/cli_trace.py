"""`serep trace`: which bytes made a released model."""
from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from serep.training.trace import Trace


def trace(
    model: Annotated[str, typer.Argument(help="models:/<name>@<alias> or models:/<name>/<version>.")] = "models:/serep-capture@champion",
    *,
    check: Annotated[bool, typer.Option("--verify", help="Recompute every hash; status 1 when one is not confirmed.")] = False,
    code: Annotated[bool, typer.Option("--code", help="Name every code file too.")] = False,
) -> None:
    """Print the chain behind a released model: run, stages, data, source files and licences, each with its hash."""
    from serep.loading import registry_root
    from serep.training.lineage import Shelves, dvc_cache
    from serep.training.trace import trace_model, verify

    root = registry_root()
    found = trace_model(model, root=root)
    for line in told(found, code=code):
        typer.echo(line)
    if not check:
        return
    try:
        cache = dvc_cache(root)
    except RuntimeError as error:
        raise RuntimeError(f"--verify needs the project that made the model, and {root} is no DVC project. Run it there") from error
    shelves = Shelves(cache, root, found.tags.get("git_commit", ""))
    counts = {"ok": 0, "changed": 0, "absent": 0}
    for finding in verify(found, shelves):
        counts[finding.state] += 1
        if finding.state != "ok":
            typer.echo(f"{finding.state}: {finding.record.path} {finding.record.md5} ({finding.place})", err=True)
    typer.echo(f"verified: {counts['ok']} hashes recomputed and equal, {counts['changed']} changed, {counts['absent']} not here")
    if counts["absent"]:
        typer.echo("what is not here may be in a remote: dvc pull", err=True)
    if counts["changed"] or counts["absent"]:
        raise typer.Exit(1)


def told(found: Trace, *, code: bool) -> Iterator[str]:
    tags = found.tags
    state = "with changes that were not committed" if tags.get("git_dirty") == "true" else "clean"
    yield f"{found.name} version {found.version}"
    yield f"  files     sha256 {tags['files_sha256']}  {found.folder}"
    yield f"  run       {found.run}, released {found.released} UTC"
    yield f"  code      git {tags.get('git_commit', 'none')}, {state}"
    yield f"  dvc.lock  sha256 {tags.get('dvc_lock', 'none')}"
    yield f"  made as   {found.model.path}  md5 {found.model.md5}"
    for step in found.steps:
        yield f"{step.stage}: {step.command}"
        for label, records in (("made", step.made), ("read", step.read), ("source", step.sources), ("code", step.code if code else ())):
            for record in records:
                yield f"  {label:<8}  {record.path}  md5 {record.md5}"
        if not code:
            yield f"  code      {len(step.code)} files (--code names them)"
        yield f"  values    sha256 {step.values_sha256}"
    yield "sources"
    for record in dict.fromkeys(record for step in found.steps for record in step.sources):
        about = found.sources.get(record.path, {})
        yield f"  {record.path}  md5 {record.md5}"
        yield f"            {about.get('source', 'source not recorded')}; licence: {about.get('licence', 'not recorded')}"
    yield "  serep's own code; licence: Apache-2.0"
