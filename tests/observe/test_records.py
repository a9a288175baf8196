from __future__ import annotations

import asyncio
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.observe import records
from proxy.observe.records import RecordWriter


async def test_lines_arrive_within_the_promised_time(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    writer = RecordWriter(str(path))
    loop = asyncio.get_running_loop()
    began = loop.time()
    writer.write(b'{"a":1}')
    writer.write(b'{"a":2}')
    assert path.read_bytes() == b""  # nothing is written on the caller's time
    while path.read_bytes() != b'{"a":1}\n{"a":2}\n':
        assert loop.time() - began < 10
        await asyncio.sleep(0.005)
    await writer.close()
    assert writer.dropped == 0


async def test_close_flushes(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_bytes(b"old\n")
    writer = RecordWriter(str(path))
    for number in range(1000):
        writer.write(b"%d" % number)
    await writer.close()
    assert path.read_bytes() == b"old\n" + b"".join(b"%d\n" % number for number in range(1000))


async def test_reopen_after_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    writer = RecordWriter(str(path))
    writer.write(b"one")
    await writer.flush()
    path.rename(tmp_path / "rotated")
    writer.write(b"two")
    await writer.reopen()
    writer.write(b"three")
    await writer.close()
    assert (tmp_path / "rotated").read_bytes() == b"one\ntwo\n"
    assert path.read_bytes() == b"three\n"


async def test_a_failed_reopen_keeps_the_old_file(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    writer = RecordWriter(str(folder / "records"))
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError):
        await writer.reopen()
    writer.write(b"still")
    await writer.close()
    assert (tmp_path / "elsewhere" / "records").read_bytes() == b"still\n"


def test_a_path_that_cannot_be_opened_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        RecordWriter(str(tmp_path / "missing" / "records"))


async def test_a_full_disk_drops_and_the_next_line_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "records"
    writer = RecordWriter(str(path))
    real, calls = os.write, 0

    def full(descriptor: int, data: memoryview) -> int:
        nonlocal calls
        calls += 1
        if calls == 1:
            return real(descriptor, data[:6])  # "one\ntw"
        raise OSError(errno.ENOSPC, "no space left")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        for line in (b"one", b"two", b"three"):
            writer.write(line)
        await writer.flush()
    assert writer.dropped == 2
    writer.write(b"four")
    await writer.close()
    assert path.read_bytes() == b"one\ntw\nfour\n"


async def test_a_writer_that_cannot_keep_up_drops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "_MAX_WAITING_BYTES", 10)
    writer = RecordWriter(str(tmp_path / "records"))
    for _ in range(4):
        writer.write(b"123456")
    assert writer.dropped == 2
    await writer.flush()
    writer.write(b"again")
    await writer.close()
    assert (tmp_path / "records").read_bytes() == b"123456\n123456\nagain\n"


def test_stdout(tmp_path: Path) -> None:
    script = (
        "import asyncio\nfrom proxy.observe.records import RecordWriter\n"
        "async def main():\n    writer = RecordWriter('-')\n    writer.write(b'{\"x\": 1}')\n"
        "    await writer.reopen()\n    await writer.close()\nasyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60, check=True)
    assert json.loads(done.stdout) == {"x": 1}


def test_a_paused_reader_of_stdout_does_not_keep_the_program() -> None:
    script = (
        "import asyncio\nfrom proxy.observe.records import RecordWriter\n"
        "async def main():\n    writer = RecordWriter('-')\n    writer.write(b'x' * 1_000_000)\n"
        "    await writer.close()\nasyncio.run(main())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.wait(60) == 0
        assert child.stderr is not None
        assert b"takes no more lines" in child.stderr.read()
