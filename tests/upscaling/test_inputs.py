"""Which pictures a command line names, and where their results go."""

from __future__ import annotations

from pathlib import Path

import pytest

from basicsr.upscaling.command import _extension
from basicsr.upscaling.inputs import Job, Naming, list_jobs
from basicsr.upscaling.pictures import FORMATS
from basicsr.utils.errors import UserError

TREE = ("a.jpg", "b.png", "notes.txt", ".hidden.png", "deep/a.jpg", "deep/er/c.TIF", "other/a.jpg")


@pytest.fixture
def photos(workplace: Path) -> Path:
    for name in TREE:
        file = workplace / "photos" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return workplace / "photos"


def targets(*inputs: str, **naming: object) -> dict[str, str]:
    """Targets by source, of which none is bad."""
    jobs, bad = list_jobs(inputs, Naming(**{"output": "out", **naming}))
    assert not bad
    return {str(job.source): str(job.target) for job in jobs}


@pytest.mark.usefixtures("photos")
class TestWithPhotos:
    def test_folders_are_entered_and_their_tree_is_kept(self) -> None:
        assert targets("photos") == {
            "photos/a.jpg": "out/a.jpg",
            "photos/b.png": "out/b.png",
            "photos/deep/a.jpg": "out/deep/a.jpg",
            "photos/deep/er/c.TIF": "out/deep/er/c.TIF",
            "photos/other/a.jpg": "out/other/a.jpg",
        }

    def test_several_folders_have_their_own_in_the_output(self) -> None:
        assert targets("photos/deep", "photos/other/") == {
            "photos/deep/a.jpg": "out/deep/a.jpg",
            "photos/deep/er/c.TIF": "out/deep/er/c.TIF",
            "photos/other/a.jpg": "out/other/a.jpg",
        }

    def test_files_and_patterns(self) -> None:
        assert targets("photos/a.jpg", "photos/b.png") == {"photos/a.jpg": "out/a.jpg", "photos/b.png": "out/b.png"}
        assert targets("photos/**/*.jpg") == {
            "photos/a.jpg": "out/a.jpg",
            "photos/deep/a.jpg": "out/deep/a.jpg",
            "photos/other/a.jpg": "out/other/a.jpg",
        }
        assert targets("photos/b.*", "photos/b.png") == {"photos/b.png": "out/b.png"}

    def test_equal_names_keep_what_tells_them_apart(self) -> None:
        assert targets("photos/a.jpg", "photos/deep/a.jpg") == {
            "photos/a.jpg": "out/a.jpg",
            "photos/deep/a.jpg": "out/deep/a.jpg",
        }
        Path("photos/a.png").touch()
        assert targets("photos/a.jpg", "photos/a.png", "photos/b.png", suffix=".webp") == {
            "photos/a.jpg": "out/a_jpg.webp",
            "photos/a.png": "out/a_png.webp",
            "photos/b.png": "out/b.webp",
        }

    def test_names_endings_and_formats(self) -> None:
        assert targets("photos/a.jpg", ending="_x4") == {"photos/a.jpg": "out/a_x4.jpg"}
        assert targets("photos/a.jpg", output="new.png") == {"photos/a.jpg": "new.png"}
        assert targets("photos/deep/er", output="new.png") == {"photos/deep/er/c.TIF": "new.png/c.TIF"}
        assert targets("photos/notes.txt") == {"photos/notes.txt": "out/notes.png"}

    def test_what_lies_in_the_output_folder_is_no_input(self) -> None:
        Path("photos/out").mkdir()
        Path("photos/out/a.jpg").touch()
        assert "photos/out/a.jpg" not in targets("photos", output="photos/out")
        assert targets("photos/out", output="photos/out/larger") == {"photos/out/a.jpg": "photos/out/larger/a.jpg"}
        assert targets("photos/out", output="photos/out", ending="_x4") == {"photos/out/a.jpg": "photos/out/a_x4.jpg"}

    @pytest.mark.parametrize(
        ("inputs", "naming"),
        [
            (["photos"], {"output": "photos"}),
            (["photos/a.jpg"], {"output": "photos/deep/../a.jpg"}),
            (["photos/a.jpg", "photos/a_x2.jpg"], {"output": "photos", "ending": "_x2"}),
        ],
    )
    def test_inputs_are_never_replaced(self, inputs: list[str], naming: dict[str, str]) -> None:
        Path("photos/a_x2.jpg").touch()
        with pytest.raises(UserError, match=r"a.*\.jpg would be replaced"):
            list_jobs(inputs, Naming(**naming))

    def test_a_link_to_an_input_is_not_written_through(self) -> None:
        Path("link").symlink_to("photos")
        with pytest.raises(UserError, match="would be replaced"):
            list_jobs(["photos/a.jpg"], Naming("link"))

    def test_several_pictures_need_a_folder(self) -> None:
        Path("file.png").touch()
        with pytest.raises(UserError, match=r"-o file\.png is a file"):
            list_jobs(["photos"], Naming("file.png"))

    def test_formats_that_nothing_writes_are_not_taken_for_folders(self) -> None:
        with pytest.raises(UserError, match=r"nothing here writes \.mp4 files of pictures; known are \.png"):
            list_jobs(["photos/a.jpg"], Naming("out.mp4"))
        assert targets("photos/a.jpg", output="v1.2") == {"photos/a.jpg": "v1.2/a.jpg"}

    def test_videos_go_beside_pictures(self) -> None:
        pytest.importorskip("av")
        for name in ("photos/b.mp4", "photos/deep/c.AVI"):
            Path(name).touch()
        assert targets("photos/b.*", "photos/deep/c.AVI", suffix=".webp") == {
            "photos/b.mp4": "out/b.mp4",
            "photos/b.png": "out/b.webp",
            "photos/deep/c.AVI": "out/c.mkv",
        }
        assert targets("photos/b.mp4", ending="_x4", suffix=".webm") == {"photos/b.mp4": "out/b_x4.webm"}
        assert targets("photos/b.mp4", output="new.mkv") == {"photos/b.mp4": "new.mkv"}
        for inputs, output, words in (
            (["photos/b.mp4"], "new.png", "files of videos; known are .mp4"),
            (["photos/b.mp4"], "new.avi", "files of videos"),
            (["photos/b.mp4", "photos/deep/c.AVI"], "new.mp4", "of several, name a folder"),
        ):
            with pytest.raises(UserError, match=words):
                list_jobs(inputs, Naming(output))

    def test_what_is_nothing_is_named(self) -> None:
        Path("empty").mkdir()
        jobs, bad = list_jobs(["photos/b.png", "absent.png", "empty", "*.gif"], Naming("out"))
        assert [str(job.source) for job in jobs] == ["photos/b.png"]
        assert [str(file) for file in bad] == [
            "absent.png: no such file",
            "empty: holds no image",
            "*.gif: nothing has such a name",
        ]


def test_standard_input_and_output() -> None:
    assert list_jobs(["-"], Naming("-")) == ([Job(None, None)], [])
    assert list_jobs(["-"], Naming("-", suffix=".png")) == ([Job(None, None, ".png")], [])
    assert list_jobs(["-"], Naming("a.webp")) == ([Job(None, Path("a.webp"), ".webp")], [])
    with pytest.raises(UserError, match="--ext mp4: standard input is one picture"):
        list_jobs(["-"], Naming("-", suffix=".mp4"))
    assert list_jobs(["missing.mp4"], Naming("large.mp4"))[1][0].reason == "no such file"
    for inputs, output in ((["-", "a.png"], "-"), (["-"], "folder"), (["a.png"], "-")):
        with pytest.raises(UserError, match=r"alone|a file to write|give - as the input"):
            list_jobs(inputs, Naming(output))


def test_the_command_knows_all_formats() -> None:
    assert {_extension(suffix) for suffix in FORMATS} == set(FORMATS)
