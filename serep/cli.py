"""The user's commands: capture a face from a picture or video, retarget expressions, export an animation, look at the machine."""
from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from rich.console import Console

import serep

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False, help=(serep.__doc__ or "").partition("\n")[0])
errors = Console(stderr=True, soft_wrap=True, highlight=False)

Unit = Annotated[str, typer.Option("--unit", help="Unit of the meshes given: mm, cm or m.")]
Up = Annotated[str, typer.Option("--up", help="Axis of the meshes given that points up: x, y, z, -x, -y or -z.")]
Front = Annotated[str, typer.Option("--front", help="Axis of the meshes given that points out of the face.")]
Target = Annotated[Optional[Path], typer.Option("--target", help="Neutral mesh to drive (.obj, .ply, .npz); by default the model's mean head.")]  # noqa: UP045 typer reads it at run time
Device = Annotated[str, typer.Option("--device", envvar="SEREP_DEVICE", help="auto, cpu, cuda, cuda:<number> or mps.")]
CaptureUri = Annotated[str, typer.Option("--model", help="Capture model: models:/<name>@<alias>, models:/<name>/<version> or a folder.")]
SemanticUri = Annotated[str, typer.Option("--model", help="Semantic model: models:/<name>@<alias>, models:/<name>/<version> or a folder.")]


def one_line_errors(command: Callable) -> Callable:
    """Errors that tell the user what to do come out as one line on stderr and status 1; all others are bugs and keep their traceback."""

    @functools.wraps(command)
    def run(*arguments: Any, **options: Any) -> Any:
        try:
            return command(*arguments, **options)
        except (ValueError, FileNotFoundError, RuntimeError) as problem:
            errors.print(f"serep: {problem}", style="red", markup=False)
            raise typer.Exit(1) from None

    return run


@app.callback(invoke_without_command=True)
def main(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    from rich.logging import RichHandler

    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[RichHandler(console=errors, show_time=False, show_path=False)])
    if version:
        typer.echo(serep.__version__)
        raise typer.Exit


@app.command()
@one_line_errors
def doctor() -> None:
    """Check what this machine can do; status 1 only when something needed is missing."""
    from serep.doctor import checks
    from serep.training.tracking import find_project_root, tracking_uri

    try:
        root: Path | None = find_project_root(Path.cwd())
    except FileNotFoundError:
        root = None
    console, colours, failed = Console(soft_wrap=True, highlight=False), {"ok": "green", "warn": "yellow", "fail": "red"}, False
    for check in checks(root, tracking_uri(root) if root else os.environ.get("MLFLOW_TRACKING_URI")):
        console.print(f"[{colours[check.state]}]{check.state:<4}[/] {check.name:<14}", end=" ")
        console.print(check.finding + (f" → {check.advice}" if check.advice else ""), markup=False)
        failed |= check.state == "fail"
    if failed:
        raise typer.Exit(1)


@app.command()
@one_line_errors
def capture(
    source: Annotated[Path, typer.Argument(help="A picture or a video of one face.")],
    *,
    out: Annotated[Path, typer.Option("--out", help="Folder for capture.npz, animation.glb and overlay.mp4 (overlay.png for a picture).")],
    target: Target = None,
    model: CaptureUri = "models:/serep-capture@champion",
    device: Device = "auto",
    unit: Unit = "mm",
    up: Up = "y",
    front: Front = "z",
) -> None:
    """Capture the expression in every frame and play it on a neutral mesh."""
    from serep.data.images import IMAGE_SUFFIXES, read_image
    from serep.data.video import VideoReader
    from serep.export.performance import capture_frames, write_animation, write_overlay
    from serep.models.device import best_device

    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file: give the name of a folder")
    if not source.is_file():
        raise FileNotFoundError(f"there is no file {source}: give a picture or a video")
    is_image = source.suffix.lower() in IMAGE_SUFFIXES
    frames, count, fps = ([read_image(source)], 1, 25.0) if is_image else _opened(VideoReader(source))
    mesh = _read_target(target, unit, up, front)
    capturer = _load(model, "capture", device=best_device(device))
    rig = capturer.rig if mesh is None else _bound(capturer.semantic, mesh)
    with _progress("capturing", count) as step:
        result = capture_frames(capturer, step(frames), target=mesh, fps=fps)
    if not result.found.any():
        raise ValueError(
            f"no face found in {_counted(len(result.found), 'frame')} of {source}: use footage of one face that looks towards the "
            "camera, upright, lit, at least 80 pixels wide and not cut off by the border"
        )
    overlay = "overlay.png" if is_image else "overlay.mp4"
    with _staged(out, replaces=("overlay.png", "overlay.mp4")) as folder:
        result.save(folder / "capture.npz")
        write_animation(folder / "animation.glb", rig, result, topology=capturer.semantic.topology)
        with _progress("drawing", len(result.found)) as step:
            write_overlay(folder / overlay, step(frames), result, rig.neutral, topology=capturer.semantic.topology)
    lost = f", {(~result.found).sum()} of them without a face" if not result.found.all() else ""
    typer.echo(f"{out}: {_counted(len(result.found), 'frame')}{lost}; capture.npz, animation.glb, {overlay}")


@app.command()
@one_line_errors
def retarget(
    *,
    source_neutral: Annotated[Path, typer.Option("--source-neutral", help="The source person's neutral mesh.")],
    source: Annotated[Path, typer.Option("--source", help="Expressive mesh, folder of them, or .npz with vertices (T, V, 3) in mm (a capture too).")],
    target_neutral: Annotated[Path, typer.Option("--target-neutral", help="The neutral mesh that is to perform them.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for .obj files; or one .obj or .ply, an .npz, or an animated .glb.")],
    model: SemanticUri = "models:/serep-semantic@champion",
    unit: Unit = "mm",
    up: Up = "y",
    front: Front = "z",
) -> None:
    """Carry expressions from one person's registered meshes to another's. Expressive meshes must lie in their neutral's frame."""
    from serep.export.retargeting import read_expressions, write_retargeted
    from serep.geometry import read_mesh

    axes = {"unit": unit, "up": up, "front": front}
    neutral, target = read_mesh(source_neutral, **axes), read_mesh(target_neutral, **axes)
    names, expressive, fps = read_expressions(source, neutral, leave_out=(source_neutral, target_neutral), **axes)
    semantic = _load(model, "semantic")
    rig = _bound(semantic, target)
    written = write_retargeted(out, names, rig, semantic.encode(neutral, expressive), fps=fps, topology=semantic.topology)
    typer.echo(f"{written}: {_counted(len(names), 'expression')} on {target_neutral}")


@app.command()
@one_line_errors
def export(
    source: Annotated[Path, typer.Argument(help="The capture.npz of `serep capture`.")],
    *,
    out: Annotated[Path, typer.Option("--out", help="The .glb to write.")],
    target: Target = None,
    model: CaptureUri = "models:/serep-capture@champion",
    unit: Unit = "mm",
    up: Up = "y",
    front: Front = "z",
) -> None:
    """Write a capture as an animated .glb, on the same or on another neutral."""
    from serep.export.performance import write_animation
    from serep.models.capture import CaptureResult

    if out.suffix.lower() != ".glb":
        raise ValueError(f"--out {out} must end in .glb")
    result = CaptureResult.load(source)
    capturer = _load(model, "capture")
    write_animation(out, _bound(capturer.semantic, _read_target(target, unit, up, front)), result, topology=capturer.semantic.topology)
    typer.echo(f"{out}: {_counted(len(result.found), 'frame')}")


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _opened(video: Any) -> tuple[Any, int, float]:
    return video, video.frame_count, video.fps


def _read_target(target: Path | None, unit: str, up: str, front: str) -> Any:
    from serep.geometry import read_mesh

    return None if target is None else read_mesh(target, unit=unit, up=up, front=front)


def _load(source: str, kind: str, **options: Any) -> Any:
    """A model of one of the two kinds, ValueError when it is of the other."""
    from serep.loading import load_model
    from serep.models.semantic import SemanticModel

    model = load_model(source, **options)
    found = "semantic" if isinstance(model, SemanticModel) else "capture"
    if found != kind:
        raise ValueError(f"--model {source} is a {found} model, this command needs a {kind} model: try models:/serep-{kind}@champion")
    return model


def _bound(semantic: Any, neutral: Any) -> Any:
    """The rig of a neutral (of the model's mean head for None)."""
    topology = semantic.topology
    if neutral is None:
        neutral = semantic.mean_neutral
    elif neutral.vertices.shape != topology.template.shape or (neutral.faces != topology.faces).any():
        raise ValueError(
            f"the target has {len(neutral.vertices)} vertices and {len(neutral.faces)} faces of its own; in this version only meshes with the "
            f"model's own topology, {topology.name} ({len(topology.template)} vertices, {len(topology.faces)} triangles, in its order), can be driven"
        )
    return semantic.bind(neutral)


@contextmanager
def _progress(label: str, total: int) -> Iterator[Callable]:
    """Gives a function that passes items on and moves a bar on stderr; silent when that is no terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(label, total=total or None)

        def step(items: Any) -> Iterator[Any]:
            for item in items:
                yield item
                progress.advance(task)

        yield step


@contextmanager
def _staged(out: Path, *, replaces: tuple[str, ...]) -> Iterator[Path]:
    """A temporary folder beside `out` whose files move there when all of them are complete; `replaces` names files of older runs to remove then."""
    import shutil
    import tempfile

    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent))
    try:
        yield folder
        out.mkdir(exist_ok=True)
        names = sorted(path.name for path in folder.iterdir())
        for name in names:
            os.replace(folder / name, out / name)
        for name in set(replaces) - set(names):
            (out / name).unlink(missing_ok=True)
    finally:
        shutil.rmtree(folder)
