"""The user's commands: capture a face from a picture or video, retarget expressions, export an animation, look at the machine."""
from __future__ import annotations

import functools
import itertools
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from rich.console import Console

import serep
from serep.cli_score import fetch, score
from serep.cli_trace import trace

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False, help=(serep.__doc__ or "").partition("\n")[0])
errors = Console(stderr=True, soft_wrap=True, highlight=False)
app.add_typer(score, name="score")
app.add_typer(fetch, name="fetch")

Unit = Annotated[str, typer.Option("--unit", help="Unit of the meshes given: mm, cm or m.")]
Up = Annotated[str, typer.Option("--up", help="Axis of the meshes given that points up: x, y, z, -x, -y or -z.")]
Front = Annotated[str, typer.Option("--front", help="Axis of the meshes given that points out of the face.")]
Target = Annotated[Optional[Path], typer.Option("--target", help="Neutral mesh to drive (.obj, .ply, .npz); by default the model's mean head.")]  # noqa: UP045 typer reads it at run time
Device = Annotated[str, typer.Option("--device", envvar="SEREP_DEVICE", help="auto, cpu, cuda, cuda:<number> or mps.")]
CaptureUri = Annotated[str, typer.Option("--model", help="Capture model: models:/<name>@<alias>, models:/<name>/<version> or a folder.")]
SemanticUri = Annotated[str, typer.Option("--model", help="Semantic model: models:/<name>@<alias>, models:/<name>/<version> or a folder.")]
OVERLAYS = ("overlay.png", "overlay.mp4")


def one_line_errors(command: Callable) -> Callable:
    """Errors that tell the user what to do, and what the system refuses, come out as one line on stderr and status 1; all others are bugs."""

    @functools.wraps(command)
    def run(*arguments: Any, **options: Any) -> Any:
        try:
            return command(*arguments, **options)
        except BrokenPipeError:
            raise
        except (ValueError, OSError, RuntimeError) as problem:
            errors.print("serep: " + " ".join(str(problem).split()), style="red", markup=False)  # libraries' errors may have several lines
            raise typer.Exit(1) from None

    return run


app.command()(one_line_errors(trace))


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
    source: Annotated[Optional[Path], typer.Argument(help="A picture or a video of one face.", show_default=False)] = None,  # noqa: UP045
    *,
    out: Annotated[Path, typer.Option("--out", help="Folder for capture.npz, animation.glb and overlay.mp4 (overlay.png for a picture).")],
    camera: Annotated[Optional[int], typer.Option("--camera", help="Capture this camera (0 is the first) until Ctrl-C, instead of a file.")] = None,  # noqa: UP045
    target: Target = None,
    model: CaptureUri = "models:/serep-capture@champion",
    device: Device = "auto",
    engine: Annotated[str, typer.Option("--engine", help="What runs the network: onnx (ONNX Runtime, on the CPU), torch, or auto.")] = "auto",
    onnx: Annotated[Optional[Path], typer.Option("--onnx", help="Take the network from this folder of `serep export --onnx`, not from the model.")] = None,  # noqa: UP045
    unit: Unit = "mm",
    up: Up = "y",
    front: Front = "z",
) -> None:
    """Capture the expression in every frame and play it on a neutral mesh. Ctrl-C ends early and keeps what is done."""
    from serep.data.images import IMAGE_SUFFIXES, read_image
    from serep.data.video import VideoReader
    from serep.export.performance import capture_frames, on_person, write_animation, write_overlay
    from serep.models.device import best_device
    from serep.models.engine import ENGINES
    from serep.stopping import stop_on_interrupt

    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file: give the name of a folder")
    if (source is None) == (camera is None):
        raise ValueError("give a picture or a video, or --camera and its number: one of them")
    if source is not None and not source.is_file():
        raise FileNotFoundError(f"there is no file {source}: give a picture or a video")
    if engine not in ENGINES:
        raise ValueError(f"--engine {engine} is unknown: use {', '.join(ENGINES)}")
    if onnx is not None and engine == "torch":
        raise ValueError("--onnx names a network for ONNX Runtime, --engine torch leaves it out: give one of them")
    is_image = source is not None and source.suffix.lower() in IMAGE_SUFFIXES
    frames, count, fps = (None, 0, 0.0) if source is None else ([read_image(source)], 1, 25.0) if is_image else _opened(VideoReader(source))
    overlay = "overlay.png" if is_image else "overlay.mp4"
    _refuse_overwriting([out / name for name in ("capture.npz", "animation.glb", *OVERLAYS)], [path for path in (source, target) if path is not None])
    # ONNX Runtime is for the processor: who asks for it need not say so twice.
    place = best_device("cpu" if device == "auto" and (onnx is not None or engine == "onnx") else device)
    if onnx is None:
        capturer = _load(model, "capture", device=place, engine=engine)
    else:
        capturer = _load(model, "capture", device=place, engine="torch")
        capturer.use_onnx(onnx)
    person = _person(capturer.semantic, target, unit, up, front)
    if frames is None:
        result, remark = _captured_live(capturer, camera)
    else:
        with _progress("capturing", count) as step, stop_on_interrupt() as stop:
            result = capture_frames(capturer, step(stop.until(frames)), fps=fps)
        remark = f"; interrupted, of {_counted(count, 'frame')}" if stop.requested else ""
    if not result.found.any():
        raise ValueError(
            f"no face found in {_counted(len(result.found), 'frame')} of {source or f'camera {camera}'}: use footage of one face that looks towards the "
            "camera, upright, lit, at least 80 pixels wide and not cut off by the border"
        )
    result = on_person(result, person)
    with _staged(out, replaces=OVERLAYS) as folder:
        result.save(folder / "capture.npz")
        write_animation(folder / "animation.glb", person, result)
        written = "capture.npz, animation.glb"
        if frames is not None:
            with _progress("drawing", len(result.found)) as step, stop_on_interrupt() as stop:
                write_overlay(folder / overlay, step(stop.until(itertools.islice(frames, len(result.found)))), result, person)
            written += f", {overlay}" + (" (interrupted: not all frames)" if stop.requested else "")
    lost = f", {(~result.found).sum()} of them without a face" if not result.found.all() else ""
    typer.echo(f"{out}: {_counted(len(result.found), 'frame')}{lost}{remark}; {written}")


def _captured_live(capturer: Any, camera: int) -> tuple[Any, str]:
    """The capture of a camera until Ctrl-C, and a remark on its speed."""
    import numpy as np

    from serep.data.camera import Camera
    from serep.export.live import live, recording
    from serep.stopping import stop_on_interrupt

    with Camera(camera) as frames, _progress(f"camera {camera}, Ctrl-C ends", 0) as step, stop_on_interrupt() as stop:
        captured = list(step(stop.until(live(capturer, frames, fps=frames.fps))))
        result = recording(captured, fps=frames.fps)
    delays = 1000 * np.array([one.delay_s for one in captured])
    return result, f"; {len(captured)} of {result.fps:.1f} a second, delay {np.median(delays):.0f} ms (95 % below {np.percentile(delays, 95):.0f})"


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
    """Carry expressions from one person's registered meshes to another's; beside the result, side_by_side.png shows both (.mp4 of a sequence)."""
    from serep.export.person import Person, check_neutral
    from serep.export.retargeting import output_files, output_kind, read_expressions, write_retargeted
    from serep.export.side_by_side import write_side_by_side, write_side_by_side_video
    from serep.geometry import read_mesh

    axes = {"unit": unit, "up": up, "front": front}
    neutral, target = read_mesh(source_neutral, **axes), read_mesh(target_neutral, **axes)
    check_neutral(neutral, source_neutral, unit=unit)
    check_neutral(target, target_neutral, unit=unit)
    given = read_expressions(source, neutral, neutral_file=source_neutral, leave_out=(source_neutral, target_neutral), **axes)
    kind = output_kind(out, len(given.names))
    _refuse_overwriting(output_files(out, given.names, kind=kind), (source_neutral, target_neutral, *given.files))
    semantic = _load(model, "semantic")
    performer, double = Person.meet(semantic, neutral, source_neutral), Person.meet(semantic, target, target_neutral)
    expressive, moved, rest = performer.on_neutral(given.vertices)
    remarks = performer.frame_remarks(moved, rest, [given.place(row) for row in range(len(given.names))], source_neutral)
    if given.dropped:
        remarks.append(f"{source}: {_counted(given.dropped, 'frame')} without a face left out")
    _note(*performer.notes, *double.notes, *remarks)
    codes = performer.encode(expressive)
    posed = double.rig.pose(codes)
    folder = out if kind == "folder" else out.parent
    stem = "" if kind == "folder" else f"{out.stem}_"
    sheet, video = f"{stem}side_by_side.png", f"{stem}side_by_side.mp4"
    with _staged(folder, replaces=(sheet, video)) as staging:
        place = staging if kind == "folder" else staging / out.name
        write_retargeted(place, given.names, double.rig, codes, kind=kind, fps=given.fps, colours=double.colours)
        write_side_by_side(staging / sheet, performer, expressive, double, posed, names=given.names)
        if given.fps is not None:
            with _progress("drawing", len(posed)) as step:
                write_side_by_side_video(staging / video, performer, expressive, double, posed, fps=given.fps, progress=step)
    pictures = str(folder / sheet) + (f", {folder / video}" if given.fps is not None else "")
    typer.echo(f"{out}: {_counted(len(given.names), 'expression' if given.fps is None else 'frame')} on {target_neutral}; {pictures}")


@app.command()
@one_line_errors
def export(
    source: Annotated[Optional[Path], typer.Argument(help="The capture.npz of `serep capture`.", show_default=False)] = None,  # noqa: UP045
    *,
    out: Annotated[Optional[Path], typer.Option("--out", help="The .glb to write.")] = None,  # noqa: UP045
    onnx: Annotated[Optional[Path], typer.Option("--onnx", help="Folder to write instead: the model as ONNX, and the target's rig.")] = None,  # noqa: UP045
    target: Target = None,
    model: CaptureUri = "models:/serep-capture@champion",
    unit: Unit = "mm",
    up: Up = "y",
    front: Front = "z",
) -> None:
    """Write a capture as an animated .glb, on the same or on another neutral; or the model itself, for programs that run ONNX."""
    from serep.export.onnx import export_onnx
    from serep.export.performance import write_animation
    from serep.models.capture import CaptureResult

    if (source is None) != (out is None) or (source is None) == (onnx is None):
        raise ValueError("give a capture and --out for an animation, or --onnx and a folder for the model")
    if onnx is not None:
        if onnx.exists() and not onnx.is_dir():
            raise ValueError(f"--onnx {onnx} is a file: give the name of a folder")
        capturer = _load(model, "capture", engine="torch")
        files = export_onnx(onnx, capturer, _person(capturer.semantic, target, unit, up, front).rig)
        typer.echo(f"{onnx}: {', '.join(files)}")
        return
    if out.suffix.lower() != ".glb":
        raise ValueError(f"--out {out} must end in .glb")
    result = CaptureResult.load(source)
    capturer = _load(model, "capture", engine="torch")
    write_animation(out, _person(capturer.semantic, target, unit, up, front), result)
    typer.echo(f"{out}: {_counted(len(result.found), 'frame')}")


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _opened(video: Any) -> tuple[Any, int, float]:
    return video, video.frame_count, video.fps


def _note(*remarks: str) -> None:
    for remark in remarks:
        errors.print(f"note: {remark}", style="yellow", markup=False)


def _load(source: str, kind: str, **options: Any) -> Any:
    """A model of one of the two kinds, ValueError when it is of the other."""
    from serep.loading import load_model
    from serep.models.semantic import SemanticModel

    model = load_model(source, **options)
    found = "semantic" if isinstance(model, SemanticModel) else "capture"
    if found != kind:
        raise ValueError(f"--model {source} is a {found} model, this command needs a {kind} model: try models:/serep-{kind}@champion")
    return model


def _person(semantic: Any, target: Path | None, unit: str, up: str, front: str) -> Any:
    """The person of a target's mesh, or the model's mean head."""
    from serep.export.person import Person, check_neutral
    from serep.geometry import read_mesh

    if target is None:
        return Person.meet(semantic, semantic.mean_neutral, Path("the mean head"))
    mesh = read_mesh(target, unit=unit, up=up, front=front)
    check_neutral(mesh, target, unit=unit)
    person = Person.meet(semantic, mesh, target)
    _note(*person.notes)
    return person


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


def _refuse_overwriting(written: Sequence[Path], given: Sequence[Path]) -> None:
    """ValueError when one of the files to write is one of those given."""
    known = {(status.st_dev, status.st_ino) for status in (path.stat() for path in given)}
    for path in written:
        if path.exists() and (path.stat().st_dev, path.stat().st_ino) in known:
            raise ValueError(f"--out would write over {path}, which is read here: choose another name or folder")


@contextmanager
def _staged(out: Path, *, replaces: Sequence[str] = ()) -> Iterator[Path]:
    """A temporary folder in or beside `out` whose files move there when all of them are complete; `replaces` names files of older runs to remove then."""
    import shutil
    import tempfile

    place = out if out.is_dir() else out.parent  # within one file system, where a move is a renaming
    place.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=place))
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
