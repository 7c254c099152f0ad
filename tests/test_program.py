"""How programs end: in one line that says why, with the status of their kind."""

import os
import re
import signal
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser
from torch.utils.data import DataLoader

from medkd.program import cause, report

from .helpers import heed_signals

WAITS = "from medkd.program import watch; import time; watch(); print('ready', flush=True); "


def start(code):
    process = subprocess.Popen(
        [sys.executable, "-c", WAITS + code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_signals,
    )
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_is_one_line_and_a_status(number, status):
    process = start("time.sleep(60)")
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said.strip()) == (status, f"medkd: stopped by {number.name}")


@pytest.mark.parametrize("ends", ["time.sleep(60)", "int('x')"], ids=["stopped", "failed"])
def test_a_progress_bar_is_not_drawn_behind_the_last_line(ends):
    process = start(
        f"from tqdm.auto import tqdm; bar = tqdm(total=3); bar.update(); print('drawn', flush=True); {ends}"
    )
    assert process.stdout.readline() == "drawn\n"
    if "sleep" in ends:
        process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=30)
    assert "1/3" in said
    *before, last = said.strip().splitlines()
    assert last in {"medkd: stopped by SIGTERM", "medkd: error: invalid literal for int() with base 10: 'x'"}
    for line in before:
        if line.startswith("Details: "):
            Path(line.removeprefix("Details: ")).unlink()


def test_a_stop_undoes_what_was_begun(tmp_path):
    code = f"""
from medkd.files import atomic_path
with atomic_path({str(tmp_path / "f")!r}) as partial:
    partial.touch()
    print("in", flush=True)
    time.sleep(60)
"""
    process = start(f"exec({code!r})")
    assert process.stdout.readline() == "in\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert list(tmp_path.iterdir()) == []


def test_a_stop_waits_for_what_must_be_whole():
    """An open transaction would lock the database for what is written at the end."""
    code = """
from medkd.program import uninterrupted
try:
    with uninterrupted():
        print("in", flush=True)
        with uninterrupted():
            time.sleep(1)
        print("whole", flush=True)
    print("never", flush=True)
finally:
    with uninterrupted():
        print("end", flush=True)
"""
    process = start(f"exec({code!r})")
    assert process.stdout.readline() == "in\n"
    process.send_signal(signal.SIGTERM)
    printed, said = process.communicate(timeout=30)
    assert (process.returncode, printed, said.strip()) == (143, "whole\nend\n", "medkd: stopped by SIGTERM")


def test_a_second_signal_ends_it_at_once():
    code = "try: print('in', flush=True); time.sleep(60)\nfinally: print('cleaning', flush=True); time.sleep(60)"
    process = start(f"exec({code!r})")
    assert process.stdout.readline() == "in\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "cleaning\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT


def test_a_process_that_it_forked_just_ends():
    code = """
import os
if not os.fork():
    print(os.getpid(), flush=True)
    time.sleep(60)
print(os.wait()[1], flush=True)
"""
    process = start(f"exec({code!r})")
    os.kill(int(process.stdout.readline()), signal.SIGTERM)
    printed, said = process.communicate(timeout=30)
    assert (process.returncode, printed, said) == (0, f"{signal.SIGTERM.value}\n", "")


def test_what_the_shell_said_to_ignore_is_ignored():
    code = "import os, signal; os.kill(os.getpid(), signal.SIGINT); print('on')"
    ignoring = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); {WAITS}"
    done = subprocess.run([sys.executable, "-c", ignoring + code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["ready", "on"]


def test_an_error_is_one_line_and_its_traceback_a_file():
    process = start("int('x')")
    _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    details, line = said.splitlines()
    assert line == "medkd: error: invalid literal for int() with base 10: 'x'"
    log = Path(details.removeprefix("Details: "))
    assert "Traceback (most recent call last)" in log.read_text()
    log.unlink()


def reported(error, capsys):
    report(error)
    details, *lines = capsys.readouterr().err.splitlines()
    Path(details.removeprefix("Details: ")).unlink()
    return "\n".join(lines)


def caught(call):
    try:
        call()
    except Exception as error:  # noqa: BLE001 - whatever it is
        return error
    raise AssertionError("expected an error")


def test_what_monai_wraps_is_the_cause(capsys):
    parser = ConfigParser({"a": "$int(@b)", "b": "$int('wrong')"})
    error = caught(lambda: parser.get_parsed_content("a"))
    assert "Failed to evaluate" in str(error)
    assert isinstance(cause(error), ValueError)
    assert reported(error, capsys) == "medkd: error: invalid literal for int() with base 10: 'wrong'"


def test_what_others_wrap_is_what_they_say(capsys):
    def wrapping():
        try:
            int("x")
        except ValueError as error:
            raise RuntimeError("model.pt: expected this, found that") from error

    assert reported(caught(wrapping), capsys) == "medkd: error: model.pt: expected this, found that"


def test_errors_that_need_it_have_their_type_said(capsys):
    assert reported(caught(lambda: {}["seed"]), capsys) == "medkd: error: KeyError: 'seed'"


class Broken(torch.utils.data.Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        try:
            raise ValueError("a.png: 2 problem(s)\n  - one\n  - two")
        except ValueError as error:
            raise RuntimeError("applying transform") from error


def test_the_cause_in_a_data_loader_s_worker_is_found(capsys):
    error = caught(lambda: list(DataLoader(Broken(), num_workers=1)))
    assert "Original Traceback" in "".join(traceback.format_exception(error))
    assert reported(error, capsys) == "medkd: error: a.png: 2 problem(s)\n  - one\n  - two"


def test_where_no_file_can_be_written_the_traceback_is_said(capsys, monkeypatch):
    monkeypatch.setattr("tempfile.NamedTemporaryFile", lambda *a, **k: (_ for _ in ()).throw(OSError("no space left")))
    report(caught(lambda: int("x")))
    said = capsys.readouterr().err
    assert re.search(r"Traceback[\s\S]*\nmedkd: error: invalid literal.*\n$", said)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "out of memory"),
        (RuntimeError("CUDA out of memory. Tried 2 GiB.\nGPU 0 has 1 GiB"), "CUDA out of memory. Tried 2 GiB."),
    ],
)
def test_what_helps_where_memory_is_short(error, said, capsys):
    kind = "MemoryError: " if isinstance(error, MemoryError) else ""
    assert reported(error, capsys) == f"medkd: error: {kind}{said}; fewer or smaller images per batch need less"
