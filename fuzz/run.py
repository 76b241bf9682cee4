"""Coverage-guided fuzzing of the HJ 212 codec: `make fuzz`, `make fuzz MINUTES=10`, `make fuzz SECONDS=30`.

The time is CPU time, shared by the targets (fuzz/targets.py); each input may take five seconds. What breaks a promise
is kept in fuzz/found/; put it among the regressions of tests/intake/hj212/test_fuzz.py when it is mended. Inputs that
reached new code stay in fuzz/corpus/ and are where the next run begins. Linux only, as atheris is.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

TARGETS = ("stream", "segment")
LEFT_ALONE = ["ceguan.intake.hj212.scan", "ceguan.intake.hj212.crc"]  # numba compiles the one, loops the other
INPUT_SECONDS, MEGABYTES = 5, 1024


def main(seconds: float) -> int:
    """Each target in a process of its own, one after the other; 1 as soon as one of them has found something."""
    from fuzz import seeds

    for target in TARGETS:
        for folder in ("corpus", "found"):
            (HERE / folder / target).mkdir(parents=True, exist_ok=True)
        seeds.write(target, HERE / "corpus" / target)
        end = _cpu_seconds() + seconds / len(TARGETS)
        while (left := end - _cpu_seconds()) > 0:  # libFuzzer counts by the clock on the wall
            if subprocess.call(_command(target, left), env=os.environ | {"PYTHONPATH": str(HERE.parent)}):
                print(f"{target}: 见 {HERE / 'found' / target}", file=sys.stderr)
                return 1
    return 0


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _command(target: str, seconds: float) -> list[str]:
    limits = f"-max_total_time={max(1, round(seconds))} -timeout={INPUT_SECONDS} -rss_limit_mb={MEGABYTES}"
    return [
        *(sys.executable, __file__, "target", target, str(HERE / "corpus" / target)),
        *(f"-artifact_prefix={HERE / 'found' / target}/", "-max_len=4096", "-print_final_stats=1", "-verbosity=0"),
        *limits.split(),
    ]


def run_target(name: str, arguments: list[str]) -> None:
    import atheris

    with atheris.instrument_imports(include=["ceguan"], exclude=LEFT_ALONE):
        from fuzz import targets
    atheris.Setup([sys.argv[0], *arguments], getattr(targets, name))
    atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1:2] == ["target"]:
        run_target(sys.argv[2], sys.argv[3:])
    else:
        sys.exit(main(float(sys.argv[1]) if sys.argv[1:] else 600))
