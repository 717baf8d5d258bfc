"""Which files are known again by their times and sizes."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchforge.file_marks import are_unchanged, is_on_local_disk, mark_files
from batchforge.source_tree import SourceTree

MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:50 / /mnt/share rw,relatime shared:9 - nfs4 server:/share rw
31 30 8:2 / /mnt/share/a\\040disk rw,relatime - xfs /dev/sdb rw
32 22 0:51 / /home/me/cloud rw,nosuid - fuse.rclone remote: rw
"""


@pytest.mark.parametrize(
    ("path", "is_local"),
    [
        ("/data/rows.csv", True),
        ("/mnt/share/rows.csv", False),
        ("/mnt/share/a disk/rows.csv", True),
        ("/home/me/cloud/rows.csv", False),
        ("/home/me/rows.csv", True),
    ],
)
def test_a_file_lies_on_the_disk_of_the_nearest_mount(tmp_path: Path, path: str, is_local: bool) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    assert is_on_local_disk(Path(path), mounts) is is_local


def test_where_mounts_cannot_be_read_no_disk_is_taken_for_local(tmp_path: Path) -> None:
    assert not is_on_local_disk(tmp_path, tmp_path / "missing")


def test_a_file_with_other_bytes_of_the_same_size_is_another(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b")
    tree = SourceTree(tmp_path)
    marks = mark_files(tree, ["rows.csv"])
    assert are_unchanged(marks, tree, ["rows.csv"])
    (tmp_path / "rows.csv").write_text("b,a")
    assert not are_unchanged(marks, tree, ["rows.csv"])
