"""From a ladder's address to all that MLflow's pages show of it, in a real browser: as a user clicks through them.

The pages are MLflow's: what of ours is in them differs by name alone from bundle to bundle, and what there is to be shown
``test_demo.py`` and ``test_identity.py`` see for every bundle.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pytest
from PIL import Image

from ..cases import ROOT
from ..mlflow_pages import CHROMIUM, browser_tab, likeness, list_runs, listed, served
from .conftest import Case

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = [
    pytest.mark.parametrize("case", ["confkd"], indirect=True),
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium"),
]
SCORES = ["test/mean_dice", "val/mean_dice"]


@dataclass
class Store:
    """A ladder's folder, its run, the last of its children, and a training by hand, whose student is the champion."""

    root: Path
    parent: mlflow.entities.Run
    child: mlflow.entities.Run
    hand: mlflow.entities.Run

    @property
    def cell(self) -> Path:
        return self.root / "kl_entropy" / "seed0"


@pytest.fixture(scope="module")
def store(case: Case, ladder: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Store:
    root, uri = ladder[0], f"sqlite:///{ladder[0] / 'mlruns.db'}"
    folder = tmp_path_factory.mktemp("hand")
    for files in ([], ["evaluate.yaml"]):
        case.train(folder, *files, tracking="configs/tracking.yaml", tracking_uri=uri, max_epochs=1)
    runs = {run.info.run_name: run for run in mlflow.MlflowClient(uri).search_runs(["1"])}
    of = {
        part: next(run for name, run in runs.items() if name.startswith(part)) for part in ("ladder", "kl_", "confkd")
    }
    return Store(root, of["ladder"], of["kl_"], of["confkd"])


@pytest.fixture(scope="module")
def pages(store: Store, ladder: tuple[Path, str]) -> Iterator[tuple[str, Any, list[str]]]:
    """The page that the ladder named, with both scores in its list, and what the browser complains of."""
    with served(ladder[1]) as page, browser_tab(1400, 900) as (tab, said):
        list_runs(tab, page, columns=SCORES, without=["Dataset", "Source", "Models"])
        yield page, tab, said


@pytest.fixture
def tab(pages: tuple[str, Any, list[str]], store: Store) -> Iterator[Any]:
    page, tab, said = pages
    tab.goto(page)
    tab.get_by_role("link", name=store.child.info.run_name).wait_for()
    yield tab
    assert said == []


def follow(tab: Any, run: mlflow.entities.Run, part: str | None = None) -> Any:
    """The page of a run, from the list; or one of its tabs."""
    tab.get_by_role("link", name=run.info.run_name).click()
    tab.get_by_role("heading", name=run.info.run_name).wait_for()
    if part:
        tab.get_by_role("tab", name=part).click()
    return tab.get_by_role("main")


def test_the_list_has_test_scores_beside_those_of_the_validation(store: Store, tab: Any) -> None:
    for score in SCORES:
        expect(tab.get_by_role("columnheader", name=score).first).to_be_in_viewport()
    rows = listed(tab)
    assert list(rows)[:3] == [run.info.run_name for run in (store.hand, store.parent, store.child)]
    assert len(rows) == 4
    for run in (store.hand, store.child):
        shown = {score: float(rows[run.info.run_name][score]) for score in SCORES}
        assert shown == {score: pytest.approx(run.data.metrics[score]) for score in SCORES}


def test_the_picture_of_the_documentation_shows_this_list(store: Store, tab: Any) -> None:
    """A picture keeps the words that it shows: one that no longer shows what users see is to be taken anew."""
    with Image.open(ROOT / "docs" / "images" / "mlflow.png") as image:
        kept, width = json.loads(image.text["listed"]), image.width
    assert width == 1400
    rows, unique = listed(tab), re.compile(r"\d{8}-\d{6}|[0-9a-f]{6}$")
    assert list(next(iter(kept.values()))) == list(next(iter(rows.values())))
    ours = {unique.sub("", name) for name in rows if not name.startswith("confkd-")}
    assert {unique.sub("", name) for name in kept} >= ours
    for name, row in kept.items():
        assert [row[score] == "-" for score in SCORES] == [name.startswith("ladder-")] * 2


def test_the_ladder_s_run_says_who_made_it_and_what_it_came_to(store: Store, tab: Any) -> None:
    main, tags = follow(tab, store.parent), store.parent.data.tags
    for sentence in tags["mlflow.note.content"].splitlines():
        expect(main.get_by_text(sentence.removeprefix("* "))).to_be_visible()
    expect(main.get_by_role("link", name=tags["mlflow.user"], exact=True)).to_be_visible()
    for rung in ("weak_only", "kl_entropy"):
        expect(main.get_by_role("link", name=f"{rung}-seed0-{store.parent.info.run_name[-6:]}")).to_be_visible()
        expect(main.get_by_role("row", name=f"dice_{rung}", exact=False)).to_be_visible()


def test_its_report_is_read_where_it_lies(store: Store, tab: Any) -> None:
    follow(tab, store.parent, "Artifacts").get_by_text("report.html").click()
    frame = tab.get_by_role("main").frame_locator("iframe")
    verdict = frame.locator(".verdict")
    expect(verdict).to_be_in_viewport()
    broken = "() => [...document.images].filter(one => !one.complete || !one.naturalWidth).length"
    assert frame.locator("body").evaluate(broken) == 0
    here, width = verdict.screenshot(), frame.locator("html").evaluate("() => innerWidth")
    alone = tab.context.new_page()
    alone.set_viewport_size({"width": width, "height": 900})
    alone.goto((store.root / "report.html").as_uri())
    assert likeness(here, alone.locator(".verdict").screenshot()) > 0.99
    alone.close()


def test_a_child_says_what_it_was_made_of(store: Store, tab: Any) -> None:
    main, tags = follow(tab, store.child), store.child.data.tags
    expect(main.get_by_role("link", name=store.parent.info.run_name)).to_be_visible()
    main.get_by_role("button").filter(has_text="+2").click()
    for section in ("training", "validation", "test"):
        digest = tags[f"medkd.digest.{section}"]
        used = tab.get_by_role("button").filter(has_text=f"data/{section} ({digest})")
        expect(used.get_by_role("status")).to_have_text(section, ignore_case=True)
    tab.keyboard.press("Escape")
    main.get_by_placeholder("Search metrics").fill("mean_dice")
    for score in SCORES:
        expect(main.get_by_role("row", name=f"{score} {store.child.data.metrics[score]}")).to_be_visible()
    main.get_by_role("link", name="student", exact=True).first.click()
    expect(main.get_by_text("Not registered")).to_be_visible()


def test_its_curves_are_those_of_test_and_validation(store: Store, tab: Any) -> None:
    main = follow(tab, store.child, "Model metrics")
    for score in SCORES:
        main.get_by_placeholder("Search metric charts").fill(score)
        expect(main.get_by_text(f"{store.child.info.run_name} ({score})")).to_be_visible()


def test_its_worst_case_is_seen(store: Store, tab: Any) -> None:
    main = follow(tab, store.child, "Artifacts")
    main.get_by_text("overlays").click()
    main.get_by_text("test.png").click()
    image = main.get_by_role("img", name="overlays/test.png")
    image.wait_for()
    tab.wait_for_function("image => image.naturalWidth > 0", arg=image.element_handle())
    seen, overlays = image.screenshot(), store.cell / "eval" / "overlays"
    assert likeness(seen, (overlays / "test.png").read_bytes()) > 0.95
    assert likeness(seen, (overlays / "epoch_0003.png").read_bytes()) < 0.5


def test_a_student_leads_to_its_version_and_the_champion_to_its_run(store: Store, tab: Any) -> None:
    main, name = follow(tab, store.hand), "confkd_cardiac_mri"
    main.get_by_role("link", name="student", exact=True).first.click()
    expect(main.get_by_text(f"Created by{store.hand.data.tags['mlflow.user']}")).to_be_visible()
    expect(main.get_by_text("Not registered")).to_be_hidden()
    main.get_by_role("link", name=name).last.click()
    expect(main.get_by_role("heading", name="Version 1")).to_be_visible()
    for alias in ("candidate", "champion"):
        expect(main.get_by_role("status", name=alias)).to_be_visible()
    expect(main.get_by_role("link", name=store.hand.info.run_name)).to_be_visible()
