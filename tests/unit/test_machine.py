"""What is recorded of the machine, and of nothing else."""

import json
import os
import subprocess
import sys
import time

import pytest

from dvtool.capture import machine
from dvtool.capture.redaction import HIDDEN, Redactor
from dvtool.capture.sampler import Sampler

NVIDIA = """#!/bin/sh
case "$*" in
*uuid*) echo "Imaginary A100, 550.54, 40536, GPU-1"; echo "Imaginary A100, 550.54, 40536, GPU-2" ;;
*) echo "97, 1024, 61, 250.5"; echo "3, 12, 30, [N/A]" ;;
esac
"""


@pytest.fixture
def gpu(tmp_path, monkeypatch):
    """A driver's program that knows two graphics processors."""
    program = tmp_path / "nvidia-smi"
    program.write_text(NVIDIA)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    return program


def installed(place, name, **files):
    directory = place / name
    directory.mkdir(parents=True)
    for file, text in files.items():
        (directory / file.replace("__", ".")).write_text(text)


def test_only_listed_variables_are_recorded():
    given = {
        "CUDA_VISIBLE_DEVICES": "0",
        "OMP_NUM_THREADS": "4",
        "AWS_SECRET_ACCESS_KEY": "abc",
        "HOME": "/x",
        "FOO": "1",
    }
    found = machine.environment(given, Redactor(given))
    assert found["variables"] == {"CUDA_VISIBLE_DEVICES": "0", "OMP_NUM_THREADS": "4"}
    assert found["threads"] == {"OMP_NUM_THREADS": "4"}
    assert "abc" not in json.dumps(found)


def test_no_listed_variable_is_named_like_a_secret():
    from dvtool.capture.redaction import is_secret_name

    assert [name for name in machine.VARIABLES if is_secret_name(name)] == []


def test_what_decides_whether_results_come_again_is_told_apart():
    given = {"PYTHONHASHSEED": "0", "CUBLAS_WORKSPACE_CONFIG": ":4096:8", "TZ": "UTC"}
    assert machine.environment(given, Redactor())["determinism"].keys() == {"PYTHONHASHSEED", "CUBLAS_WORKSPACE_CONFIG"}


def test_the_machine_is_described():
    found = machine.environment({}, Redactor())
    assert found["platform"]["system"] == "Linux"
    assert found["memory"] > 0
    assert found["cpu"]["cores"] >= found["cpu"]["usable"] >= 1


def test_an_image_is_what_whoever_started_the_container_says():
    given = {"DV_CONTAINER": "registry.example.org/train@sha256:12ab"}
    assert machine.environment(given, Redactor())["container"]["image"] == "registry.example.org/train@sha256:12ab"


def test_packages_are_told_by_name_version_and_origin(tmp_path):
    installed(tmp_path, "NumPy-2.1.0.dist-info")
    installed(tmp_path, "my_model-0.3.dist-info", direct_url__json=json.dumps(
        {"url": "https://user:s3cret-t0ken@git.example.org/m.git", "vcs_info": {"commit_id": "abcdef"}}
    ))  # fmt: skip
    installed(
        tmp_path, "local-1.dist-info", direct_url__json=json.dumps({"url": "file:///x", "dir_info": {"editable": True}})
    )
    installed(tmp_path, "broken-1.dist-info", direct_url__json="{no json")
    (tmp_path / "numpy.py").write_text("")
    found = machine.packages([str(tmp_path), str(tmp_path / "nowhere")], Redactor())
    assert found == [
        {"name": "broken", "version": "1", "origin": ""},
        {"name": "local", "version": "1", "origin": "file:///x (editable)"},
        {"name": "my-model", "version": "0.3", "origin": f"https://{HIDDEN}@git.example.org/m.git@abcdef"},
        {"name": "numpy", "version": "2.1.0", "origin": ""},
    ]


def test_of_two_of_one_name_the_first_on_the_path_counts(tmp_path):
    installed(tmp_path / "first", "a-2.dist-info")
    installed(tmp_path / "second", "a-1.dist-info")
    [found] = machine.packages([str(tmp_path / "first"), str(tmp_path / "second")], Redactor())
    assert found["version"] == "2"


def test_graphics_processors_are_those_that_the_driver_lists(gpu):
    assert machine.gpus() == [{"name": "Imaginary A100", "driver": "550.54", "memory": 40536 * 1024 * 1024}] * 2


@pytest.mark.parametrize("script", ["exit 1", "echo nonsense", "kill -9 $$"])
def test_a_driver_that_fails_lists_none(gpu, script):
    gpu.write_text(f"#!/bin/sh\n{script}\n")
    assert machine.gpus() == []
    assert "gpu0.utilization" not in Sampler().look(os.getpid())


def test_graphics_processors_are_sampled(gpu):
    found = Sampler().look(os.getpid())
    assert found["gpu0.utilization"] == 97.0
    assert found["gpu1.memory"] == 12.0
    assert "gpu1.power" not in found


def test_memory_is_that_of_a_process_and_of_all_below_it():
    child = "x = bytearray(80_000_000); print(1, flush=True); import time; time.sleep(60)"
    holder = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", holder], stdout=subprocess.PIPE, start_new_session=True) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            sampler = Sampler()
            found = sampler.look(process.pid)
        finally:
            os.killpg(process.pid, 9)
    assert found["run.processes"] == 2
    assert found["run.memory"] > 80_000_000
    assert sampler.peak == found["run.memory"]


def test_the_processor_of_the_machine_is_told_as_a_share():
    sampler = Sampler()
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        pass
    assert sampler.look(os.getpid())["cpu"] > 0.3


def test_a_process_that_has_ended_uses_nothing():
    found = Sampler().look(2**22 - 1)
    assert (found["run.memory"], found["run.processes"]) == (0, 0)
