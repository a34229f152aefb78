"""Pages as a browser shows them: they sort, filter and tell, ask nothing of outside, and shut no one out."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Error, Page, sync_playwright
from synthetic_runs import ACCURACY, list_runs, make_run, write_study

from vtbench.reporting.archive import list_archives
from vtbench.reporting.rendering import write_report

SKIP = "VTBENCH_TESTS_WITHOUT_BROWSER"
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_SWITCHES = ["--disable-gpu", "--disable-background-networking", "--no-first-run"]
REPORTS = Path(__file__).resolve().parents[2] / "reports"
COMMITTED = [*(archive / "report.html" for archive in list_archives(REPORTS)), REPORTS / "index.html"]
MARKUP = '<b title="x">bold</b> & <img src="https://example.org/x.png" onerror="document.title=1">'
Open = Callable[..., Page]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """That of the machine, else playwright's own. Without one the tests fail, unless they were told to do without."""
    if os.environ.get(SKIP):
        pytest.skip(f"{SKIP} is set")
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    switches = [*_SWITCHES, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        try:
            started = playwright.chromium.launch(executable_path=found, args=switches)
        except Error as error:
            pytest.fail(
                f"No browser for the tests of pages ({error.message.splitlines()[0]}). make browser installs one, or "
                f"set {SKIP}=1 to leave these tests out."
            )
        yield started
        started.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Open a file; nothing may be requested from outside or said on the console until the test ends."""
    contexts, faults = [], []

    def open_file(path: Path, *, width: int = 1280, dark: bool = False) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light", bypass_csp=True
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: faults.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on("request", lambda request: faults.append(request.url) if request.url.startswith("http") else None)
        page.goto(path.resolve().as_uri())
        return page

    yield open_file
    for context in contexts:
        context.close()
    assert not faults


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a study with a failed run, a hole, and markup in the name of an arm."""
    runs = [*list_runs({arm: values[:2] for arm, values in ACCURACY.items()}), make_run("dynamic", 2, error=MARKUP)]
    runs += [make_run(MARKUP, seed, 70.0 + seed, variant="resnet20") for seed in (0, 1)]
    return write_report(write_study(tmp_path_factory.mktemp("study"), runs)).folder / "report.html"


def assert_open_to_all(page: Page, *, only: str | None = None) -> None:
    found = (
        Axe()
        .run(page, options={"resultTypes": ["violations"], **({"runOnly": [only]} if only else {})})
        .response["violations"]
    )
    assert [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")] == []


def read_column(page: Page, place: int) -> list[str]:
    return page.locator(f"#table-1-1 tbody tr:visible > :nth-child({place})").all_inner_texts()


def test_tables_sort_and_filter_and_arms_tell_of_themselves(study: Path, open_page: Open) -> None:
    page = open_page(study)
    head = page.locator("#table-1-1 thead th").nth(2)
    for direction, in_order in (("descending", True), ("ascending", False)):
        head.get_by_role("button").press("Enter")
        assert head.get_attribute("aria-sort") == direction
        macs = [float(text.replace(",", "")) for text in read_column(page, 3)]
        assert macs == sorted(macs, reverse=in_order)
    page.get_by_label("Filter rows of “Top-1 accuracy").fill("static pos")
    assert read_column(page, 1) == ["static-position"]
    assert page.locator("[data-count=table-1-1]").inner_text() == "1 of 6 rows"
    page.locator("svg .arm", has_text="dynamic-position").first.locator(".mean").hover()
    assert page.locator("#tip").inner_text().startswith("dynamic-position: top-1 71.72 ± ")


def test_text_of_users_is_shown_as_it_is(study: Path, open_page: Open) -> None:
    page = open_page(study)
    assert MARKUP in read_column(page, 1)
    assert page.locator("b[title=x], img[src^=http]").count() == 0
    assert page.locator(".failed li").inner_text().startswith("dynamic, seed 2, in cells/dynamic/seed-2\n")
    assert page.locator(".failed pre").is_visible()
    assert page.locator(".failed pre").inner_text() == MARKUP
    assert page.title() == "components"


@pytest.mark.parametrize("dark", [False, True])
def test_a_page_has_no_fault_that_shuts_people_out(study: Path, open_page: Open, dark: bool) -> None:
    page = open_page(study, dark=dark)
    page.locator("details").evaluate_all("all => all.forEach(one => one.open = true)")
    assert_open_to_all(page, only="color-contrast" if dark else None)


def test_of_many_arms_tables_scroll_the_answer_is_short_and_print_shows_all(tmp_path: Path, open_page: Open) -> None:
    runs = [make_run(f"arm-{arm}", seed, 60 + arm % 7 + seed * (arm + 9) / 9) for arm in range(60) for seed in range(2)]
    page = open_page(write_report(write_study(tmp_path, runs, seeds=None)).page, width=360)  # type: ignore[arg-type]
    assert "and 47 more" in page.inner_text(".answer")
    assert len(page.inner_text(".answer")) < 600
    table = page.locator("#table-1-1")
    assert table.locator("caption span").bounding_box()["width"] < 360  # type: ignore[index]
    scroll = table.locator("xpath=..")
    assert scroll.bounding_box()["height"] < 900 < table.bounding_box()["height"]  # type: ignore[index]
    page.emulate_media(media="print")
    assert scroll.bounding_box()["height"] >= table.bounding_box()["height"]  # type: ignore[index]
    code = page.locator("#repeat code, .command code").first
    assert code.text_content().startswith("vtbench ")  # type: ignore[union-attr]


def test_arms_of_factors_leave_room_for_numbers_and_are_told_apart_in_charts(tmp_path: Path, open_page: Open) -> None:
    names = [f"model=twin,learning_rate={rate},auto_augment=off" for rate in (0.05, 0.1, 0.2)]
    runs = [make_run(name, seed, 70.0 + seed + len(name) / 10) for name in names for seed in (0, 1)]
    page = open_page(write_report(write_study(tmp_path, runs, seeds=None)).page, width=360)  # type: ignore[arg-type]
    assert sorted(page.locator("#table-1-1 tbody th").all_inner_texts()) == names
    for row in page.locator("#table-1-1 tbody tr").all():
        assert row.locator("td").first.bounding_box()["x"] < 200  # type: ignore[index]
    labels = page.locator("svg .label").all_text_contents()
    assert {"twin, 0.1, off", "twin, 0.2, off"} <= set(labels)
    assert not any("…" in label for label in labels)


BROKEN = """cells => cells.flatMap(cell => [...cell.childNodes]).filter(node => {
  const range = document.createRange(); range.selectNodeContents(node);
  return !/\\s/.test(node.textContent) && new Set([...range.getClientRects()].map(line => line.top)).size > 1;
}).map(node => node.textContent)"""
"""The words between which a line may be broken, of those that are broken inside."""


def test_a_name_on_a_narrow_screen_is_broken_between_its_words(tmp_path: Path, open_page: Open) -> None:
    names = ["static+position", "recurrent_tokens-without/position"]
    runs = [make_run(name, seed, 70.0 + seed) for name in names for seed in (0, 1)]
    page = open_page(write_report(write_study(tmp_path, runs, seeds=None)).page, width=360)  # type: ignore[arg-type]
    cells = page.locator("#table-1-1 tbody th")
    assert sorted(cells.all_inner_texts()) == sorted(names)
    assert min(cell.bounding_box()["height"] for cell in cells.all()) > 40  # type: ignore[index]
    assert page.locator("#table-1-1 tbody th, dd, code span").evaluate_all(BROKEN) == []


def test_a_page_fits_a_narrow_screen(open_page: Open) -> None:
    page = open_page(REPORTS / "components_cifar10" / "report.html", width=360)
    assert page.evaluate("document.documentElement.scrollWidth") == 360


@pytest.mark.slow
@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.parent.name)
def test_every_committed_page_works_in_light_and_dark_and_on_a_narrow_screen(path: Path, open_page: Open) -> None:
    assert path.stat().st_size < 500_000
    for dark, width in ((False, 1280), (True, 360)):
        page = open_page(path, dark=dark, width=width)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert_open_to_all(page)
