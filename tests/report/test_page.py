"""The page in a real browser, at a telephone's and a desk's width."""

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from medkd.cli import main
from medkd.report import read_material, write_page

from .planted import plant

WIDTHS = (390, 1400)
_CHROMIUM = shutil.which("chromium")
browser_needed = pytest.mark.skipif(_CHROMIUM is None, reason="needs chromium")


@pytest.fixture(scope="module")
def ladder(tmp_path_factory):
    return plant(tmp_path_factory.mktemp("page") / "ladder", bad="p07", seen=["p01"], sure=0.97, right=0.8)


@pytest.fixture(scope="module")
def page(ladder):
    """The page, written by the command as a user has it."""
    path = ladder.parent / "report.html"
    assert main(["report", str(ladder), "--output", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=_CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser, page):
    """Open the page at a width; what it asked for and complained of is in the second list."""
    contexts = []

    def open_at(width, **more):
        context = browser.new_context(viewport={"width": width, "height": 900}, **more)
        contexts.append(context)
        tab, said = context.new_page(), []
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda request: said.append(request.url) if request.url.startswith("http") else None)
        tab.goto(page.as_uri())
        return tab, said

    yield open_at
    for context in contexts:
        context.close()


def test_the_page_is_one_file_that_names_no_other_place(page):
    text = page.read_text(encoding="utf-8")
    assert page.stat().st_size < 8 * 2**20
    assert not re.findall(r"""https?://|\b(?:src|href)=["'](?!data:|#)""", text)
    assert "url(" not in text
    assert text.startswith("<!DOCTYPE html>")


@browser_needed
@pytest.mark.parametrize("width", WIDTHS)
def test_it_fits_asks_for_nothing_and_complains_of_nothing(opened, width):
    tab, said = opened(width)
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    broken = "[...document.images].filter((one) => !one.complete || !one.naturalWidth).length"
    assert tab.evaluate(broken) == 0
    assert tab.evaluate("document.images.length") > 30
    assert said == []


@browser_needed
@pytest.mark.parametrize("width", WIDTHS)
def test_axe_finds_nothing_serious(opened, width):
    axe = pytest.importorskip("axe_playwright_python")
    tab, _ = opened(width, bypass_csp=True)  # the page lets no script in, axe's neither
    tab.evaluate((Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))
    found = tab.evaluate("axe.run()")["violations"]
    assert [one["id"] for one in found if one["impact"] in {"serious", "critical"}] == []


def _column(tab, name):
    """The column of a head in the table of cases, as it stands there."""
    heads = tab.locator("#every-case thead th").all_inner_texts()
    place = next(place for place, head in enumerate(heads) if head.strip() == name)
    cells = tab.locator(f"#every-case tbody tr > :nth-child({place + 1})").all_inner_texts()
    return place, [float(cell) for cell in cells]


@browser_needed
def test_cases_are_sorted_by_the_keyboard(opened, ladder):
    tab, _ = opened(1400)
    place, values = _column(tab, "pixel")
    cases = pd.concat(pd.read_csv(ladder / "pixel" / f"seed{seed}" / "eval" / "cases.csv") for seed in (0, 1))
    means = cases.groupby("case")["dice"].mean().round(3).tolist()
    assert sorted(values) == pytest.approx(sorted(means), abs=6e-4)
    head = tab.locator("#every-case thead th").nth(place)
    head.locator("button").focus()
    for order, key in (("ascending", "Enter"), ("descending", "Space")):
        tab.keyboard.press(key)
        assert head.get_attribute("aria-sort") == order
        assert _column(tab, "pixel")[1] == sorted(values, reverse=order == "descending")
    assert (
        tab.locator("#every-case thead th[aria-sort='none']").count() == tab.locator("#every-case thead th").count() - 1
    )


@browser_needed
def test_the_verdict_comes_first_and_its_links_lead_somewhere(opened):
    tab, _ = opened(390)
    assert tab.locator("h2").first.inner_text() == "Do not deploy"
    assert tab.locator(".verdict").bounding_box()["y"] < 200
    for link in tab.locator("nav a").all():
        assert tab.locator(link.get_attribute("href")).count() == 1


@browser_needed
def test_the_worst_case_is_the_planted_one(opened):
    tab, _ = opened(1400)
    first = tab.locator("article.case").first
    assert "p07.png" in first.locator("h3").inner_text()
    titles = ["image", "truth", "teacher", "student", "disagreement", "errors", "uncertainty"]
    assert first.locator("figcaption").all_inner_texts() == titles


def test_what_is_not_there_is_said(tmp_path):
    """An old ladder: no trust.csv, no slices, no MLflow store, no efficiency, no datalist."""
    root = plant(tmp_path / "ladder")
    for path in [*root.glob("*/*/eval/trust.csv"), *root.glob("*/*/eval/slices/*")]:
        path.unlink()
    shutil.rmtree(tmp_path / "ladder-data")
    write_page(read_material(root), tmp_path / "old.html")
    text = (tmp_path / "old.html").read_text(encoding="utf-8")
    for absent in ("no evaluation kept slices", "no evaluation kept probabilities", "the entropy of single cases", "volumes and islands", "no MLflow store", "medkd efficiency", "the datalist is not there any more"):  # fmt: skip
        assert absent in text


def test_what_medkd_efficiency_has_measured_is_shown(ladder, tmp_path):
    line = {"network": "small", "runtime": "onnx", "precision": "int8", "seconds": 2.5, "warm": 0.125, "peak": 512.0}
    line |= {"area": 9.0, "file": 0.6, "parameters": 1000, "macs": 2.5e9, "case": "a"}
    pd.DataFrame([line]).to_csv(tmp_path / "measured.csv", index=False)
    write_page(read_material(ladder), tmp_path / "r.html", efficiency=tmp_path)
    row = re.search(r"<tr><th scope=.row.>small</th>(.*?)</tr>", (tmp_path / "r.html").read_text(encoding="utf-8"))
    assert re.findall(r"<td>([^<]*)", row[1]) == ["onnx int8", "0.125", "2.50", "512", "0.6", "2.50"]
    with pytest.raises(FileNotFoundError, match=r"expected measured\.csv, the output of `medkd efficiency`"):
        write_page(read_material(ladder), tmp_path / "r.html", efficiency=tmp_path / "none")


def test_names_stay_where_they_are_if_numbers_are_asked_for(ladder, tmp_path):
    assert main(["report", str(ladder), "--output", str(tmp_path / "r.html"), "--anonymous"]) == 0
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert not re.search(r"\bp\d\d\b", text)
    assert "case 8 (patient 8)" in text


def test_the_command_says_the_verdict(page, ladder, capsys):
    assert main(["report", str(ladder), "--output", str(page)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("Do not deploy pixel")
    assert printed[-1] == f"Report: {page}"
