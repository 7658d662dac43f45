"""DVC stage `intake`: real pictures and videos become crops of faces; no folder, or an empty one, gives an empty output."""
from serep.config import build
from serep.data.intake import IntakeSettings, take_in
from serep.models.face_finders import FINDERS, cut_square
from serep.stages._stage import stage, write_folder


def main() -> None:
    with stage("intake") as run:
        params, paths = run.params.intake, run.params.paths
        source, counts = run.input(paths.real_images), {}
        write_folder(paths.real_faces, lambda folder: counts.update(
            take_in(source, folder, find=FINDERS[params.finder], cut=cut_square, settings=build(IntakeSettings, params))))
        run.write_metrics(paths.metric("intake"), counts)


if __name__ == "__main__":
    main()
