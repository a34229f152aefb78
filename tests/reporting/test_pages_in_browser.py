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

from vtbench.reporting.archive import archive_runs, list_archives
from vtbench.reporting.rendering import write_report
from vtbench.reporting.report import build_report
from vtbench.reporting.web.index_page import render_index

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
    head.get_by_role("button").press("Enter")
    assert head.get_attribute("aria-sort") is None, "the third time rows stand as they stood"
    page.locator('svg .arm[data-arm="dynamic-position"]').first.locator(".mean").hover()
    assert page.locator("#tip").inner_text().startswith("dynamic-position: top-1 71.7 ± ")


def test_text_of_users_is_shown_as_it_is(study: Path, open_page: Open) -> None:
    page = open_page(study)
    assert MARKUP in read_column(page, 1)
    assert page.locator("b[title=x], img[src^=http]").count() == 0
    assert page.locator(".failed li").inner_text().startswith("dynamic, seed 2, in cells/dynamic/seed-2\n")
    assert page.locator(".failed pre").is_visible()
    assert page.locator(".failed pre").inner_text() == MARKUP
    assert page.title() == "components: Do tokens beat convolution, and does it matter whether they are dynamic?"


@pytest.mark.parametrize("dark", [False, True])
def test_a_page_has_no_fault_that_shuts_people_out(study: Path, open_page: Open, dark: bool) -> None:
    page = open_page(study, dark=dark)
    page.locator("details").evaluate_all("all => all.forEach(one => one.open = true)")
    assert_open_to_all(page, only="color-contrast" if dark else None)


def test_of_many_arms_tables_scroll_the_answer_is_short_and_print_shows_all(tmp_path: Path, open_page: Open) -> None:
    runs = [make_run(f"arm-{arm}", seed, 60 + arm % 7 + seed * (arm + 9) / 9) for arm in range(60) for seed in range(2)]
    page = open_page(write_report(write_study(tmp_path, runs, seeds=None)).page, width=360)  # type: ignore[arg-type]
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


SORT = """([cells, at]) => {
  const table = document.querySelector("table[data-sortable]");
  const rows = [...table.tBodies[0].rows];
  cells.forEach((text, place) => { rows[place].cells[at].textContent = text; });
}"""


@pytest.mark.parametrize(
    ("at", "least_first"),
    [
        (1, ["< 0.01", "0.01", "9.9 s", "5 min 06 s", "5 min 31 s", "1 h 02 min"]),
        (1, ["−3.10 ± 0.20", "-1e-05", "2.5e-3", "0.30", "1,024", "–"]),
        (1, ["512 B", "1.5 KiB", "2.0 MiB", "1.0 GiB"]),
        (0, ["0912e4aa77cd", "1e9900000000", "45e4d6f80000", "aab912345678"]),
        (0, ["rate=0.03", "rate=0.1", "rate=1.0", "rate=1e1", "seed 2", "seed 10"]),
    ],
)
def test_columns_sort_by_what_their_words_mean(study: Path, open_page: Open, at: int, least_first: list[str]) -> None:
    page = open_page(study)
    least_first = [*least_first, *["–"] * (6 - len(least_first))]
    page.evaluate(SORT, [least_first[::2] + least_first[1::2][::-1], at])
    head = page.locator("#table-1-1 thead th").nth(at)
    while head.get_attribute("aria-sort") != "ascending":
        head.get_by_role("button").press("Enter")
    assert read_column(page, at + 1) == least_first


def test_marks_tell_of_themselves_to_keys_and_to_fingers_and_a_dot_tells_its_seed(study: Path, open_page: Open) -> None:
    page = open_page(study)
    assert page.locator("svg[role=img]").count() == 0
    assert page.locator("svg .arm[tabindex='0']").count() == page.locator("svg").count()
    page.locator("svg .arm[tabindex='0']").first.focus()
    page.keyboard.press("ArrowRight")
    told = page.locator("#tip")
    assert told.is_visible() and told.inner_text().startswith("static: top-1 69.7 ± ")
    page.keyboard.press("Escape")
    assert told.is_hidden()
    page.locator('svg .arm[data-arm="static"] .seed').nth(1).dispatch_event("click")
    assert told.inner_text() == "static, seed 1: top-1 69.40 %"
    page.locator("h1").dispatch_event("click")
    assert told.is_hidden()
    page.locator('figure:has-text("Differences") .arm[data-arm="static"] .seed').first.dispatch_event("click")
    assert told.inner_text() == "static, seed 0: -1.35 points"


def test_a_table_that_goes_on_shows_it_and_keeps_the_arms_in_place(study: Path, open_page: Open) -> None:
    page = open_page(study, width=390)
    tabled = page.locator(".tabled").first
    assert "more-right" in (tabled.get_attribute("class") or "")
    name = page.locator("#table-1-1 tbody th").first
    before = name.bounding_box()
    page.locator(".tabled .scroll").first.evaluate("box => { box.scrollLeft = box.scrollWidth; }")
    page.wait_for_function("!document.querySelector('.tabled').classList.contains('more-right')")
    after = name.bounding_box()
    assert before is not None and after is not None and before["x"] == after["x"] > 0


def test_a_repeated_head_has_words_in_print(study: Path, open_page: Open) -> None:
    page = open_page(study)
    page.emulate_media(media="print")
    button = page.locator("#table-1-1 thead button").first
    assert button.evaluate("one => getComputedStyle(one).display") == "contents"
    assert page.locator(".keep").first.evaluate("one => getComputedStyle(one).breakInside") == "avoid"


def test_numbers_have_a_true_minus_and_names_keep_what_they_have(tmp_path: Path, open_page: Open) -> None:
    page = open_page(write_report(write_study(tmp_path, list_runs())).page)  # type: ignore[arg-type]
    assert read_column(page, 6)[1].startswith("−1.")
    assert "static-position" in read_column(page, 1)


def test_the_index_links_names_hides_what_is_filtered_and_names_studies_of_the_same_arms(
    tmp_path: Path, open_page: Open
) -> None:
    for name, arms in (("a", ACCURACY), ("b", ACCURACY), ("other", {"dynamic": ACCURACY["dynamic"]})):
        archive_runs([write_study(tmp_path / "runs" / name, list_runs(arms), seeds=None)], tmp_path / "reports" / name)
    (tmp_path / "reports" / "index.html").write_text(render_index(tmp_path / "reports"), "utf-8")
    page = open_page(tmp_path / "reports" / "index.html")
    links = page.locator("#studies tbody th a").evaluate_all("all => all.map(one => one.getAttribute('href'))")
    assert links == ["a/report.html", "b/report.html", "other/report.html"]
    articles = page.locator("article")
    assert articles.nth(0).get_by_role("link", name="b", exact=True).get_attribute("href") == "b/report.html"
    assert "same arms" not in articles.nth(2).inner_text()
    assert build_report(tmp_path / "reports" / "a").indexed
    assert not build_report(tmp_path / "runs" / "a").indexed


def test_filtering_rows_hides_the_sections_that_belong_to_them(open_page: Open) -> None:
    page = open_page(REPORTS / "index.html")
    page.get_by_label("Filter rows").fill("tuning")
    assert page.locator("article:visible h2").all_inner_texts() == ["tuning"]


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
