"""The user's commands about the benchmark: score predictions on MultiREX, compare methods, map another topology, fetch the data."""
from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

if TYPE_CHECKING:
    from serep.benchmark.multirex_score import BenchmarkScore
    from serep.benchmark.tables import Picture
    from serep.geometry.mesh import Mesh

score = typer.Typer(no_args_is_help=True, help="Score predictions on the benchmark, and compare methods.")
fetch = typer.Typer(no_args_is_help=True, help="Get data that may not be shipped, from its own home and under its own licence.")

KNOWN_FACE_ERROR = 4.0  # mm that the training people's shapes may leave over on the published neutrals, which are faces for certain; floors tell the rest

Assets = Annotated[Path, typer.Option("--assets", help="The `assets` folder of MultiREX (serep fetch multirex gets it).")]
Resamples = Annotated[int, typer.Option("--resamples", min=100, help="Bootstrap samples over people.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of the bootstrap.")]


def _command(group: typer.Typer, name: str) -> Callable:
    """A command whose errors are one line on stderr, as of all commands; imported late, for `serep.cli` mounts this module."""
    def wrap(function: Callable) -> Callable:
        @group.command(name)
        @functools.wraps(function)
        def run(*arguments: Any, **options: Any) -> Any:
            from serep.cli import one_line_errors

            return one_line_errors(function)(*arguments, **options)

        return run

    return wrap


@score.callback()
def _score() -> None:
    pass


@fetch.callback()
def _fetch() -> None:
    pass


@_command(score, "multirex")
def score_multirex(
    *,
    predictions: Annotated[Path, typer.Option("--predictions", help="One file a video, <sequence>#<camera>: .npy meshes, FLAME parameters, captures.")],
    ground_truth: Annotated[Path, typer.Option("--ground-truth", help="The true sequences, <sequence>.npy (folder multiface_gt).")],
    assets: Assets,
    out: Annotated[Path, typer.Option("--out", help="Folder for per_frame.parquet, summary.json, scores.md, scores.html and pictures.")],
    name: Annotated[Optional[str], typer.Option("--name", help="The method's name; by default that of the folder of predictions.")] = None,  # noqa: UP045
    unit: Annotated[str, typer.Option("--unit", help="Unit of meshes in .npy and .npz: m (as the published script expects) or mm.")] = "m",
    maps: Annotated[Optional[Path], typer.Option("--map", help="Sparse maps of another topology (serep score map makes them): <person>*.npz, or one .npz.")] = None,  # noqa: UP045
    flame_model: Annotated[Optional[Path], typer.Option("--flame-model", help="generic_model.pkl (read as data, never run) or .npz, for FLAME parameters.")] = None,  # noqa: UP045
    pictures: Annotated[bool, typer.Option("--pictures/--no-pictures", help="Draw error maps on the face.")] = True,
    resamples: Resamples = 10_000,
    seed: Seed = 0,
) -> None:
    """Score predictions of the 39 videos: the published script's number and the corrected one, with floors and intervals over people."""
    from serep.benchmark.multirex_flame import read_flame
    from serep.benchmark.multirex_score import score_multirex as scored
    from serep.benchmark.multirex_tables import remarks, write_score
    from serep.benchmark.tables import number, with_interval

    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file: give the name of a folder")
    with _bar("scoring") as on_video:
        result = scored(
            predictions, ground_truth, assets, method=name or _method_name(predictions), unit=unit, maps=maps,
            flame=None if flame_model is None else read_flame(flame_model), on_video=on_video,
        )  # fmt: skip
    summary = write_score(out, result, resamples=resamples, seed=seed, pictures=functools.partial(_maps, assets=assets) if pictures else None)
    for remark in remarks(summary):
        typer.echo(remark, err=True)
    fixed, floors = summary["fixed"], summary["floors"]
    typer.echo(
        f"{out}: {summary['method']}, {summary['videos']} videos, {summary['frames']} frames; official {number(summary['official']['mean_of_region_means_mm'])} mm, "
        f"fixed {number(fixed['mean_of_region_means_mm'])} mm, over people {with_interval(fixed['macro_mean_mm'], *fixed['macro_interval_mm'])} mm; "
        f"floor {number(floors['conversion']['mean_of_region_means_mm'])}, neutral {number(floors['neutral']['mean_of_region_means_mm'])} mm"
    )


def _method_name(predictions: Path) -> str:
    folder = predictions.resolve()
    return folder.parent.name if folder.name == "decoded_flame_meshes" else folder.name


def _maps(result: BenchmarkScore, *, assets: Path) -> Sequence[Picture]:
    from serep.benchmark.multirex_assets import multiface_mesh
    from serep.benchmark.multirex_maps import person_map, view_map
    from serep.benchmark.tables import Picture

    people = {one.recording.identity: one.recording for one in result.videos}
    neutrals = {identity: multiface_mesh(assets, recording) for identity, recording in people.items()}
    return (
        Picture("error_map_views.jpg", "Mean error a vertex (fixed), over all people, on one neutral head; grey is not measured.",
                view_map(result, next(iter(neutrals.values())))),
        Picture("error_map_people.jpg", "Mean error a vertex (fixed) of each person, over all views.", person_map(result, neutrals)),
    )  # fmt: skip


@_command(score, "compare")
def score_compare(
    folders: Annotated[list[Path], typer.Argument(help="Two or more folders that `serep score multirex --out` wrote.")],
    *,
    out: Annotated[Optional[Path], typer.Option("--out", help="Folder for comparison.json, .md and .html.")] = None,  # noqa: UP045
    resamples: Resamples = 10_000,
    seed: Seed = 0,
) -> None:
    """Rank scored methods by the corrected mean over people, with paired intervals; says which differences are noise."""
    from serep.benchmark.compare import compare, read_scores
    from serep.benchmark.compare_tables import comparison_tables, write_comparison
    from serep.benchmark.tables import markdown

    comparison = compare([read_scores(folder) for folder in folders], resamples=resamples, seed=seed)
    if out is not None:
        write_comparison(out, comparison)
    typer.echo(markdown("Comparison", [], comparison_tables(comparison)))


@_command(score, "map")
def score_map(
    *,
    assets: Assets,
    out: Annotated[Path, typer.Option("--out", help="Folder for <person>.npz and <person>.obj: what --map of `serep score multirex` takes.")],
    neutrals: Annotated[Optional[Path], typer.Option("--neutrals", help="The people in your topology, <person>*.obj or .ply.")] = None,  # noqa: UP045
    model: Annotated[Optional[str], typer.Option("--model", help="Or a model (capture or semantic), whose topology is laid on the published neutrals.")] = None,  # noqa: UP045
    unit: Annotated[str, typer.Option("--unit", help="Unit of the neutrals: mm, cm or m.")] = "mm",
    up: Annotated[str, typer.Option("--up", help="Axis that points up.")] = "y",
    front: Annotated[str, typer.Option("--front", help="Axis that points out of the face.")] = "z",
) -> None:
    """Build the maps that let meshes of another topology be scored; the neutrals it writes are targets for `serep capture`."""
    from serep.benchmark.multirex_conversion import neutrals_by, neutrals_in, write_conversions
    from serep.benchmark.tables import number

    if (neutrals is None) == (model is None):
        raise ValueError("give either --neutrals (meshes of the eight people in your topology) or --model")
    source = neutrals_in(neutrals, assets, unit=unit, up=up, front=front) if neutrals is not None else neutrals_by(_laid_on(str(model)))
    for identity, floor in write_conversions(out, assets, source):
        typer.echo(f"{identity}: floor " + ", ".join(f"{region} {number(value)}" for region, value in floor.items()) + " mm")


def _laid_on(uri: str) -> Callable:
    """A function that gives the model's topology in the shape of a neutral, in the neutral's frame."""
    from serep.geometry.rigid import apply_rigid
    from serep.loading import load_model
    from serep.models.registration import register

    model = load_model(uri)
    semantic = getattr(model, "semantic", model)

    def laid_on(neutral: Mesh) -> Mesh:
        found = register(semantic, neutral, largest_shape_error=KNOWN_FACE_ERROR)
        rotation, shift = found.to_frame
        return found.model_neutral.with_vertices(apply_rigid(found.model_neutral.vertices, rotation.T, -rotation.T @ shift))

    return laid_on


@_command(fetch, "multirex")
def fetch_multirex(
    *,
    out: Annotated[Path, typer.Option("--out", help="Folder for assets, videos_gamma_corrected and multiface_gt.")],
    assets: Annotated[Optional[Path], typer.Option("--assets", help="An `assets` folder that you have; otherwise it is downloaded too.")] = None,  # noqa: UP045
    accept: Annotated[bool, typer.Option("--accept-licences", help="You have read the licences that the command states, and agree.")] = False,
    meshes_only: Annotated[bool, typer.Option("--meshes-only", help="Only the true meshes, no videos: a tenth of the download.")] = False,
    unwrapped: Annotated[bool, typer.Option("--unwrapped", help="Also videos whose bright pixels do not wrap round to dark.")] = False,
    people: Annotated[Optional[list[str]], typer.Option("--person", help="Only these people (repeatable).")] = None,  # noqa: UP045
) -> None:
    """Download the benchmark from its homes, check and resume, and convert it as the official scripts do."""
    from serep.data.download import Line
    from serep.data.multirex_fetch import LICENCES, fetch_benchmark

    typer.echo(LICENCES, err=True)
    if not accept:
        raise ValueError("nothing was downloaded: run again with --accept-licences if you agree to the licences above")
    with _byte_bars() as on_bytes:
        chosen = tuple(people or ())
        for done in fetch_benchmark(out, assets=assets, videos=not meshes_only, unwrapped=unwrapped, people=chosen, line=Line(), on_bytes=on_bytes):
            typer.echo(done)


@contextmanager
def _bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """Takes (done, of how many), and shows it on stderr; silent when that is no terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from serep.cli import errors

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(label, total=None)
        yield lambda done, of: progress.update(task, completed=done, total=of)


@contextmanager
def _byte_bars() -> Iterator[Callable[[str, int, int | None], None]]:
    """A bar on stderr for the file that is coming; silent when that is no terminal."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from serep.cli import errors

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("", total=None)
        yield lambda name, have, whole: progress.update(task, description=name, completed=have, total=whole)
