"""DVC stage `preprocess`: sound, aligned heads in mm with surface operators; what is unfit goes to the quarantine table."""
from collections import Counter

from serep.data.heads import read_heads, read_quarantine, write_heads
from serep.data.preprocess import preprocess
from serep.stages._stage import stage


def main() -> None:
    with stage("preprocess") as run:
        params, paths = run.params.preprocess, run.params.paths
        heads = read_heads(run.input(paths.heads))
        sound, quarantine = preprocess(heads, max_quarantine_share=params.max_quarantine_share, left_out=read_quarantine(paths.heads))
        write_heads(paths.surfaces, sound, quarantine=quarantine)
        reasons = Counter(reason.split(":")[0] for _, _, reason in quarantine)
        run.write_metrics(paths.metric("preprocess"), {
            "people": len(sound.neutrals), "expressive_meshes": len(sound.expressive), "quarantined": len(quarantine), "reasons": reasons})


if __name__ == "__main__":
    main()
