"""Files in the folders of the settings that cannot be read."""

import os
from pathlib import Path

from octabox.config.file_problems import find_file_problems
from octabox.config.settings import Settings


def test_each_folder_is_searched(tmp_path: Path) -> None:
    """A FIFO in any of them is named; what is fine, and what has another suffix, is not."""
    names = ("m/loras/a.safetensors", "m/embeddings/b.pt", "m/pipelines/c.py", "w/deep/d.txt", "s/e.csv", "s/f.md")
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(tmp_path / name)
    (tmp_path / "w" / "fine.txt").touch()
    (tmp_path / "w" / "out.txt").symlink_to("/etc/hostname")

    found = list(find_file_problems(Settings(models=tmp_path / "m", wildcards=tmp_path / "w", styles=tmp_path / "s")))

    assert {tmp_path / name for name in (*names[:5], "w/out.txt")} == {problem.file for problem in found}
    assert {"error"} == {problem.severity for problem in found}


def test_styles_in_one_file(tmp_path: Path) -> None:
    """They need no folder; a FIFO in its place is named."""
    (tmp_path / "styles.csv").touch()
    settings = Settings(models=tmp_path / "m", wildcards=tmp_path / "w", styles=tmp_path / "styles.csv")
    assert [] == list(find_file_problems(settings))

    (tmp_path / "styles.csv").unlink()
    os.mkfifo(tmp_path / "styles.csv")
    assert [tmp_path / "styles.csv"] == [problem.file for problem in find_file_problems(settings)]
