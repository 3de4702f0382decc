"""What is read of a node: the report of nvidia-smi, the kernel's log, clocks, memory."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from groundup import hardware
from groundup.train.doctor import host

# The form of `nvidia-smi -q -x` (driver 550), cut down to what is read.
REPORT = """<?xml version="1.0" ?>
<nvidia_smi_log>
  <driver_version>550.127.05</driver_version>
  <gpu id="00000000:3B:00.0">
    <ecc_errors>
      <volatile>
        <sram_correctable>7</sram_correctable>
        <sram_uncorrectable_parity>{sram}</sram_uncorrectable_parity>
        <dram_uncorrectable>{dram}</dram_uncorrectable>
      </volatile>
      <aggregate><dram_uncorrectable>9</dram_uncorrectable></aggregate>
    </ecc_errors>
    <retired_pages><pending_retirement>N/A</pending_retirement></retired_pages>
    <remapped_rows>
      <remapped_row_pending>{pending}</remapped_row_pending>
      <remapped_row_failure>{failure}</remapped_row_failure>
    </remapped_rows>
  </gpu>
</nvidia_smi_log>"""
BEFORE_AMPERE = (
    '<nvidia_smi_log><gpu id="1"><ecc_errors><volatile><double_bit><total>{}</total></double_bit>'
    "</volatile></ecc_errors></gpu></nvidia_smi_log>"
)


@pytest.mark.parametrize(
    ("sram", "dram", "pending", "failure", "state", "errors"),
    [
        ("0", "0", "No", "No", "ok", 0),
        ("N/A", "0", "N/A", "N/A", "ok", 0),
        ("0", "2", "No", "No", "fail", 2),
        ("1", "2", "No", "No", "fail", 3),
        ("0", "0", "Yes", "No", "warn", 0),
        ("0", "0", "Yes", "Yes", "fail", 0),
    ],
)
def test_errors_of_a_gpu(
    sram: str, dram: str, pending: str, failure: str, state: str, errors: int
) -> None:
    report = REPORT.format(sram=sram, dram=dram, pending=pending, failure=failure)
    [found] = host.ecc_results(report)
    assert (found.name, found.state, found.value) == (
        "gpu errors 00000000:3B:00.0", state, errors,
    )  # fmt: skip


def test_older_gpus_count_double_bits() -> None:
    assert [next(host.ecc_results(BEFORE_AMPERE.format(count))).state for count in (0, 4, "N/A")] \
        == ["ok", "fail", "ok"]  # fmt: skip


def test_a_report_that_is_no_xml_is_not_measured() -> None:
    [found] = host.ecc_results("NVIDIA-SMI has failed")
    assert (found.state, found.value) == ("ok", None)
    assert "not measured" in found.why


LOG = "[  1.0] NVRM: Xid (PCI:0000:3b:00): {}, pid=1234, name=python, Ch 00000008\n"


@pytest.mark.parametrize(
    ("log", "state", "value"),
    [
        ("[ 0.1] nothing to see\n", "ok", "none"),
        (LOG.format(13), "warn", "13"),  # a program's mistake
        (LOG.format(13) + LOG.format(79) + LOG.format(79), "fail", "13, 79"),  # off the bus
    ],
)
def test_the_drivers_messages(log: str, state: str, value: str) -> None:
    found = host.xid_result(log)
    assert (found.state, found.value) == (state, value)


def test_no_tool_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    [found] = host.check_gpus()
    assert (found.state, found.value) == ("ok", None)
    assert found.why == "not measured: no nvidia-smi here"


def test_a_tool_that_fails_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\nexit 9\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert host.said("nvidia-smi") is None
    tool.write_text("#!/bin/sh\necho fine\n")
    assert host.said("nvidia-smi") == "fine\n"


def test_a_wall_clock_that_was_set_is_seen() -> None:
    assert host.check_clock_runs(time.time(), time.monotonic()).state == "ok"
    assert host.check_clock_runs(time.time() - 3600, time.monotonic()).state == "warn"


def test_little_free_memory_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "proc").mkdir()
    meminfo = tmp_path / "proc" / "meminfo"
    monkeypatch.setattr(hardware, "ROOT", tmp_path)
    for available, state in ((900, "ok"), (100, "warn")):
        meminfo.write_text(f"MemTotal: 1000 kB\nMemAvailable: {available} kB\n")
        found = host.check_free_memory("cpu")
        assert (found.state, found.value) == (state, available * 1024 / 1e9)
