"""launch/tpu_pod.sh, whose gcloud is one that runs what is meant for the machines in a folder."""

import os
import pathlib
import subprocess

import pytest

SCRIPT = pathlib.Path(__file__).parents[2] / "launch" / "tpu_pod.sh"
SLICE = ("--name=pod", "--zone=us-west4-a")

GCLOUD = """#!/usr/bin/env bash
# Runs what ssh is given in $HOME, as the one machine of a slice.
for word in "$@"; do
    case $word in --command=*) cd "$HOME" && exec bash -c "${word#*=}" ;; esac
done
echo "gcloud $*"
"""

TRAIN = """#!/usr/bin/env bash
# Stands for python launch/train.py.
trap 'echo "stopped, all is saved"; exit 0' TERM
printf '<%s>' "$@"; echo "$JAX_COMPILATION_CACHE_DIR"
while true; do sleep 0.05; done
"""


@pytest.fixture
def machine(tmp_path):
    """A home with an installed r3jax, and a gcloud that leads there."""
    programs = {
        tmp_path / "bin" / "gcloud": GCLOUD,
        tmp_path / "home" / "r3jax" / ".venv" / "bin" / "python": TRAIN,
    }
    for path, text in programs.items():
        path.parent.mkdir(parents=True)
        path.write_text(text)
        path.chmod(0o755)
    return tmp_path


def call(machine, command: str, *more: str) -> subprocess.CompletedProcess:
    env = {
        **os.environ,
        "HOME": str(machine / "home"),
        "PATH": f"{machine / 'bin'}:{os.environ['PATH']}",
    }
    words = ["bash", SCRIPT, command, *more]
    return subprocess.run(words, env=env, capture_output=True, text=True, timeout=60)


def test_a_run_is_started_once_followed_and_stopped_with_all_saved(machine):
    flags = ["--config=configs/rgrpo_tpu.py:v5e-32", "--config.buckets.originals=(8, 9)"]
    started = call(machine, "run", *SLICE, "--cache=/mnt/shared/x y", "--", *flags)
    assert started.returncode == 0, started.stderr
    again = call(machine, "run", *SLICE, "--", *flags)
    assert again.returncode == 1 and "a run is going on" in again.stderr
    stopped = call(machine, "stop", *SLICE)
    assert (stopped.returncode, stopped.stdout) == (0, "stopped, all is saved\n"), stopped.stderr
    log = (machine / "home" / "r3jax" / "run.log").read_text()
    assert log.startswith(f"<launch/train.py><{flags[0]}><{flags[1]}>/mnt/shared/x y\n")
    assert call(machine, "run", *SLICE, "--", *flags).returncode == 0  # and it goes on
    call(machine, "stop", *SLICE)


@pytest.mark.parametrize(
    "kind, runtime",
    [
        ("v4-64", "tpu-ubuntu2204-base"),
        ("v5litepod-32", "v2-alpha-tpuv5-lite"),
        ("v5p-32", "v2-alpha-tpuv5"),
        ("v6e-16", "v2-alpha-tpuv6e"),
    ],
)
def test_a_slice_is_created_with_the_runtime_of_its_type(machine, kind, runtime):
    made = call(machine, "create", *SLICE, f"--type={kind}", "--spot", "--project=mine")
    assert made.stdout.split()[1:] == [
        *("compute", "tpus", "tpu-vm", "create", "pod", "--zone=us-west4-a", "--project=mine"),
        *(f"--accelerator-type={kind}", f"--version={runtime}", "--spot"),
    ]


def test_a_dry_run_prints_commands_that_a_shell_reads_back(machine):
    printed = call(machine, "run", *SLICE, "--dry-run", "--", "--workdir=/mnt/a b")
    assert not (machine / "home" / "r3jax" / "run.log").exists()
    words = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {printed.stdout}"], capture_output=True, text=True
    ).stdout.split("\0")
    assert words[:6] == ["gcloud", "compute", "tpus", "tpu-vm", "ssh", "pod"]
    assert "launch/train.py '--workdir=/mnt/a b'" in words[-2]


@pytest.mark.parametrize(
    "command, told",
    [
        (["create", *SLICE], "create needs --type"),
        (["create", *SLICE, "--type=v9-8"], "--type=v9-8: expected v4-N"),
        (["run", *SLICE], "run needs the flags of launch/train.py after --"),
        (["stop", "--name=pod"], "stop needs --name and --zone"),
        (["begin", *SLICE], "begin: expected create, install,"),
        (["stop", *SLICE, "--zones=a"], "--zones=a is no option"),
    ],
)
def test_mistakes_are_told(machine, command, told):
    done = call(machine, *command)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith(f"tpu_pod.sh: {told}")
