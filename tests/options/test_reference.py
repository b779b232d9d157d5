from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import jsonschema
import pytest
from pydantic import Field

from basicsr.cli import main
from basicsr.options import schema
from basicsr.options.load import load_file
from basicsr.options.reference import SCHEMA_FILE, SECTIONS, describe_values, renew_page, write_schema
from basicsr.utils.fields import JpegRange, PositiveInt, Probability, Section
from basicsr.utils.parts import Arguments

PAGE = Path(__file__).parents[2] / "docs" / "options.md"


def test_the_page_is_what_the_code_says() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert renew_page(text) == text, "run: basicsr options --write docs/options.md"


def test_every_key_of_the_schema_is_on_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for section in SECTIONS.values():
        for name in section.model_fields:
            assert f"| `{name}` |" in text, name


def all_sections(section: type[Section]) -> list[type[Section]]:
    ours = [
        child for child in section.__subclasses__() if child.__module__.startswith("basicsr") and child != Arguments
    ]
    return [section, *(inner for child in ours for inner in all_sections(child))]


@pytest.mark.parametrize("section", all_sections(Section)[1:], ids=lambda s: s.__name__)
def test_every_key_is_described(section: type[Section]) -> None:
    for name, field in section.model_fields.items():
        assert field.description, name
        assert re.search(r"[.]$", field.description), name


def test_no_key_is_required_by_the_schema_itself() -> None:
    assert schema.RunOptions.model_validate({}).manual_seed == 0


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (PositiveInt | None, "integer > 0"),
        (Probability, "number ≥ 0, ≤ 1"),
        (JpegRange | None, "[low, high] in 1…100"),
        (Literal["a", "b"], "`a`, `b`"),
        (list[Literal["a"]], "list of `a`"),
        (dict[str, Any], "block"),
        (Annotated[str, Field(min_length=1)], "text"),
        (bool | float, "true or false or number"),
    ],
)
def test_values_in_words(annotation: Any, text: str) -> None:
    assert describe_values(annotation) == text


def test_renewing_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("basicsr.options.parse.SCHEMA_FILE", tmp_path / "schema.json")
    page = tmp_path / "page.md"
    page.write_text("# A\n<!-- generated: logger.wandb -->\nold\n<!-- end -->\nB\n", encoding="utf-8")
    assert main(["options", "--write", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert "old" not in text
    assert "| `project` |" in text
    assert text.startswith("# A\n")
    assert text.endswith("<!-- end -->\nB\n")
    with pytest.raises(KeyError):
        renew_page("<!-- generated: nothing -->\n<!-- end -->")


def test_the_shipped_schema_is_what_the_code_says() -> None:
    # Versions of pydantic write 0 or 0.0.
    shipped = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    assert json.loads(write_schema(only_own=True)) == shipped, "run: basicsr options --write docs/options.md"


OPTION_FILES = sorted((PAGE.parents[1] / "options").glob("*/*.yml"))


@pytest.mark.parametrize("file", OPTION_FILES, ids=lambda file: file.stem)
def test_shipped_files_name_the_schema_and_satisfy_it(file: Path) -> None:
    first = file.read_text(encoding="utf-8").splitlines()[0]
    named = first.removeprefix("# yaml-language-server: $schema=")
    assert (file.parent / named).resolve() == SCHEMA_FILE.resolve()
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))
    data = drop_nulls(load_file(file).data)
    assert [error.message for error in validator.iter_errors(data)] == []
    data["network_g"]["num_feet"] = 3
    data["trian"] = {}
    data["logger"] = {"print_freq": 0}
    assert len(list(validator.iter_errors(data))) == 3


def drop_nulls(value: Any) -> Any:
    return {k: drop_nulls(v) for k, v in value.items() if v is not None} if isinstance(value, dict) else value
