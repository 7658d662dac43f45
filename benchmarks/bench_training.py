"""Steps of the capture training: batches drawn ahead against in turn, two processes against one, on two cores."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

STEPS, ROUNDS = 30, 3
# (processes, threads of each, threads that draw ahead)
WAYS = {
    "one_process_one_thread": (1, 1, 0),
    "one_process_two_threads": (1, 2, 0),
    "one_process_two_threads_ahead": (1, 2, 1),
    "two_processes": (2, 1, 0),
    "two_processes_ahead": (2, 1, 1),
}


def run() -> dict:
    """Seconds a step (the whole batch of 32 and its real share), the best of some rounds in turn, and ratios. The floor of two cores: half of one's time."""
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(ROUNDS):
        for name, way in WAYS.items():
            seconds[name].append(_step_seconds(*way))
    best = {name: min(values) for name, values in seconds.items()}
    alone = best["one_process_one_thread"]
    return {
        **{f"{name}_ms": 1e3 * value for name, value in best.items()},
        "two_processes_times_one": alone / min(best["two_processes"], best["two_processes_ahead"]),
        "default_times_one_thread": alone / best["one_process_two_threads"],
        "drawing_ahead_times_in_turn": best["one_process_two_threads"] / best["one_process_two_threads_ahead"],
        "cores": len(os.sched_getaffinity(0)),
    }


def _step_seconds(processes: int, threads: int, ahead: int) -> float:
    root = Path(__file__).resolve().parents[1]
    launcher = () if processes == 1 else ("-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}")
    command = [sys.executable, *launcher, str(root / "benchmarks" / "train_steps.py"), str(STEPS), str(threads), str(ahead)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(root)}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return float(done.stdout.split()[-1])
