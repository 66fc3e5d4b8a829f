"""The command line as a stranger meets it: one clear line and exit code 2 for what they can cause."""

import copy
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from redhanded import cli
from redhanded.detectors import SimilarityDetector, save_bundle
from redhanded.detectors.encoder import OnnxEncoder
from redhanded.detectors.pairs import calibrate_similarity
from redhanded.experiments.measure.querylog import QueryLog

ENV = os.environ | {"COLUMNS": "100"}


def redhanded(*words, cwd, **env):
    return subprocess.run(
        [sys.executable, "-m", "redhanded.cli", *map(str, words)],
        cwd=cwd,
        env=ENV | env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def one_line(done, *words):
    """Check that the command failed with one line that names the field."""
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("redhanded: ")]
    assert len(lines) == 1
    for word in words:
        assert word in lines[0]


@pytest.fixture
def folder(tmp_path):
    """Thirty images in a folder."""
    (tmp_path / "images").mkdir()
    rng = np.random.default_rng(0)
    for n in range(30):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(tmp_path / f"images/{n:02}.png")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("data", "fetch", "nothing"), "nothing"),
        (("run", "xvii"), "table"),
        (("run", "--world", "mars"), "world"),
        (("demo", "--data", "nothing"), "data"),
        (("attack", "nothing"), "attack"),
        (("attack", "random", "--order", "nothing"), "order"),
        (("attack", "random", "--fidelity", "nothing"), "fidelity"),
        (("attack", "random", "--mode", "nothing"), "mode"),
        (("attack", "random", "--mode", "enforce"), "guard"),
        (("attack", "random", "--images", "."), "oracle"),
        (("attack", "random", "--seed", "-1"), "--seed"),
        (("attack", "random", "--budget", "many"), "--budget"),
        (("run", "i", "--time-limit", "nan"), "time-limit"),
        (("nothing",), "nothing"),
        (("calibrate", "--data", "cifar10", "--out", "b"), "cifar10"),
        (("compare", "--detectors", "similarity,oracle"), "detectors"),
        (("compare", "--streams", "honest,nowhere"), "streams"),
        (("compare", "--time-limit", "-1"), "time-limit"),
        (("attack", "random", "--guard", "no-bundle"), "bundle"),
        (("replay", "no-log", "--detector", "no-bundle"), "stream"),
        (("run", "i", "--device", "cuda:99"), "device"),
        (("demo", "--out", "/proc/nowhere"), "/proc/nowhere"),
        (("attack", "jb-top3", "--budget", "0"), "budget"),
        (("attack", "jb-top3", "--initial", "imagenet"), "initial"),
        (("figures", "."), "records"),
    ],
)
def test_bad_words(tmp_path, monkeypatch, capsys, words, named):
    """Unknown names, missing data and missing bundles are named with their fix."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDHANDED_DATA", str(tmp_path / "empty"))
    monkeypatch.setattr(sys, "argv", ["redhanded", *words])
    monkeypatch.setattr(cli, "app", copy.deepcopy(cli.app))  # commands are added to it
    with pytest.raises(SystemExit) as stopped:  # in this process: to start another takes seconds
        cli.main()
    one_line(subprocess.CompletedProcess(words, stopped.value.code, "", capsys.readouterr().err), named)


def test_truncated_archive(tmp_path):
    """A cut archive is named, not traced back."""
    (tmp_path / "cifar10").mkdir()
    (tmp_path / "cifar10/train.npz").write_bytes(b"PK\x03\x04 cut short")
    done = redhanded(
        "calibrate", "--data", "cifar10", "--out", "b", cwd=tmp_path, REDHANDED_DATA=str(tmp_path)
    )
    one_line(done, "train.npz")


def test_an_interrupt_says_that_the_same_command_goes_on(tmp_path):
    """Control-C in the middle of a training, also where the tests run in the background and ignore it."""
    heeding = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from redhanded.cli import main; main()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", heeding, "run", "i"],
        cwd=tmp_path,
        env=ENV,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as running:
        assert running.stderr.readline().startswith("[1/")
        while not list(
            (tmp_path / "runs").rglob("*.unfinished")
        ):  # however long the first cell takes to begin
            assert running.poll() is None
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        told = running.stderr.read()
    assert running.returncode == 130
    assert told.strip().splitlines()[-1].endswith("run the same command to go on")
    assert "Traceback" not in told


def test_oracle_that_raises(folder):
    """A failing callable ends the attack with one line."""
    words = ("--images", "images", "--classes", 10, "--n-seed", 10, "--budget", 10, "--oracle")
    (folder / "dead.py").write_text("def predict(images):\n    raise OSError('nobody is there')\n")
    one_line(redhanded("attack", "random", *words, "dead:predict", cwd=folder), "oracle")
    assert not list((folder / "runs/attack-random").iterdir())


def test_what_was_answered_before_a_failure_is_kept(folder):
    """The same command goes on from it."""
    (folder / "mine.py").write_text(
        "import pathlib\nasked = pathlib.Path('asked')\n"
        "def predict(images):\n"
        "    if asked.exists() and not pathlib.Path('paid').exists():\n"
        "        raise OSError('quota used up')\n"
        "    asked.open('a').write(f'{len(images)} ')\n"
        "    return (images.mean((1, 2, 3)) * 1e4).astype(int) % 3\n"
    )
    words = ("attack", "jb-top3", "--oracle", "mine:predict", "--images", "images", "--classes", 3)
    words = (*words, "--n-seed", 12, "--budget", 30, "--json")
    one_line(redhanded(*words, cwd=folder), "quota used up")
    (folder / "paid").touch()
    done = redhanded(*words, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["queries"] == 30
    assert (folder / "asked").read_text().split() == ["12", "18"]
    assert not (folder / "runs/attack-jb-top3/answers.npz").exists()


def test_own_target_is_stolen_from_end_to_end(folder):
    """A callable is attacked, its queries are counted, and the log can be replayed."""
    (folder / "mine.py").write_text(
        "def predict(images):\n    return (images.mean((1, 2, 3)) * 1e4).astype(int) % 3\n"
    )
    words = ("--oracle", "mine:predict", "--images", "images", "--classes", 3, "--n-seed", 12, "--budget", 30)
    done = redhanded("attack", "jb-top3", *words, "--order", "target", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["queries"] == 30
    assert (record["order"], record["fidelity"]) == ("target", "corrected")
    assert np.load(folder / "runs/attack-jb-top3/log/parents.npy").tolist() == [-1] * 12 + [*range(9)] * 2
    log = Path(folder) / "runs/attack-jb-top3/log"
    assert len(np.load(log / "outputs.npy")) == 30


@pytest.fixture
def bundle(folder):
    """A calibrated detector over a tiny graph that flattens 32x32 images."""
    import onnx
    from onnx import helper

    weights = np.random.default_rng(1).standard_normal((3072, 4)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["images"], ["flat"]),
            helper.make_node("MatMul", ["flat", "w"], ["features"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, ["n", 3, 32, 32])],
        [helper.make_tensor_value_info("features", onnx.TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor("w", onnx.TensorProto.FLOAT, weights.shape, weights.tobytes(), raw=True)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    detector = SimilarityDetector(OnnxEncoder(model.SerializeToString()), 1.0, flags_to_ban=2)
    features = np.random.default_rng(2).standard_normal((100, 4)).astype(np.float32)
    calibration, _ = calibrate_similarity(features, fpr=0.02, flags_to_ban=2)
    save_bundle(folder / "bundle", detector, calibration, {"stream": "noise"})
    return folder / "bundle"


def log_of(images, folder):
    """Write images as a query log."""
    n = len(images)
    zeros = np.zeros(n, np.int64)
    log = QueryLog(images, np.zeros((n, 2), np.float32), zeros - 1, zeros - 1, zeros, zeros)
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in vars(log).items():
        np.save(folder / f"{name}.npy", values)
    return folder


def test_a_log_is_replayed(folder, bundle):
    """Five equal images: one flag each but for the first of an account, a ban at every second flag."""
    log = log_of(np.full((5, 3, 32, 32), 0.5, np.float32), folder / "log")
    done = redhanded("replay", log, "--detector", bundle, "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert [record[name] for name in ("queries", "flags", "bans", "accounts_used")] == [5, 3, 1, 2]


def test_a_changed_bundle(folder, bundle):
    """A flipped byte is found by its digest."""
    content = bytearray((bundle / "encoder.onnx").read_bytes())
    content[200] ^= 1
    (bundle / "encoder.onnx").write_bytes(bytes(content))
    one_line(redhanded("replay", "images", "--detector", bundle, cwd=folder), "digest", "encoder.onnx")


@pytest.mark.parametrize(
    ("shape", "value", "named"), [((5, 3, 16, 16), 0.5, "shape"), ((5, 3, 32, 32), np.nan, "NaN")]
)
def test_queries_that_are_no_images(folder, bundle, shape, value, named):
    """Another size and NaN pixels are named."""
    log = log_of(np.full(shape, value, np.float32), folder / "log")
    one_line(redhanded("replay", log, "--detector", bundle, cwd=folder), "images", named)


def test_an_endpoint_that_is_not_there(folder):
    """A closed port is tried again a few times, then named."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    words = ("--images", "images", "--classes", 10, "--n-seed", 10, "--budget", 10, "--oracle")
    one_line(redhanded("attack", "random", *words, f"http://127.0.0.1:{port}", cwd=folder), "oracle")


@pytest.mark.parametrize(
    ("option", "value", "named"), [("--fpr", 2, "fpr"), ("--flags-to-ban", 0, "flags-to-ban")]
)
def test_a_target_out_of_reach_is_named_before_anything_is_trained(folder, option, value, named):
    """No encoder is made first."""
    done = redhanded("calibrate", "--images", "images", "--out", "b", option, value, cwd=folder)
    one_line(done, named)
    assert not list((folder / "runs/artefacts").iterdir())


def test_a_detector_without_a_network_is_calibrated_and_replayed(folder):
    """Blacklight needs no training; its bundle holds no graph."""
    words = ("calibrate", "--detector", "blacklight", "--images", "images", "--out", "light")
    done = redhanded(*words, "--fpr", 0.05, "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["bans"] == 0
    assert not (folder / "light/encoder.onnx").exists()
    log = log_of(
        np.tile(np.random.default_rng(0).random((1, 3, 32, 32), np.float32), (4, 1, 1, 1)), folder / "log"
    )
    done = redhanded("replay", log, "--detector", "light", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert [record[name] for name in ("flags", "bans")] == [3, 3]  # all but the first are its copies
    one_line(redhanded(*words, "--detector", "oracle", cwd=folder), "detector")


def test_calibrate_on_own_images(folder, bundle):
    """Thirty images resolve one ban in thirty, and not one in ten thousand."""
    words = ("calibrate", "--bundle", bundle, "--images", "images", "--out", "tuned")
    one_line(redhanded(*words, cwd=folder), "fpr", "10,000")
    done = redhanded(*words, "--fpr", 0.05, "--flags-to-ban", 3, "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["bans"] <= 1
    assert redhanded("replay", "images", "--detector", "tuned", cwd=folder).returncode == 0


def test_a_dry_run_says_what_is_left_and_measures_nothing(tmp_path):
    """In the order of the tables, for people and for machines."""
    done = redhanded("run", "vii", "i", "--dry-run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "What is left (demo world)" in done.stdout
    told = json.loads(redhanded("run", "vii", "i", "--dry-run", "--json", cwd=tmp_path).stdout)
    assert [part["table"] for part in told] == ["vii", "i"]
    assert all(part["left"] > 0 == part["timed"] for part in told)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
