"""Pages are self-contained, escaped, and open in a browser without complaint."""

import re
import shutil
import subprocess

import numpy as np
import pytest

from r3jax.records import Source, Verdict
from r3jax.view import figure, pieces, plot, report, trace
from tests.view.examples import TERMS, make_curves, make_example

HOSTILE = "</style></title><script>document.title='hit'</script><img src=x onerror=alert(1)>\"'&"
SCORE = report.Score(0.93, 0.90, 0.95, 500)


def make_report(text="plain"):
    question, episode, token_texts = make_example(text, think=text)
    fragments = [
        trace.trace_fragment(
            question, episode, {text: 0.5}, Verdict.RIGHT, token_texts, (168, 224)
        ),
        trace.trace_fragment(question, episode, TERMS, Verdict.WRONG),
    ]
    table = report.ResultTable(text, (text, "all"), {text: [SCORE, None]}, note=text)
    curves = {text: [{"step": 0, text: 1.0}], **make_curves()}
    return report.report_html(text, text, [table], curves, fragments, {text: text})


def without_known_markup(html):
    """Tags of a page, to be compared between harmless and hostile text."""
    return re.findall(r"<(/?\w+)", re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL))


def test_hostile_text_adds_no_markup_and_no_attribute():
    hostile, plain = make_report(HOSTILE), make_report("plain")
    assert without_known_markup(hostile) == without_known_markup(plain)
    assert "<script" not in hostile and "<img src=x" not in hostile
    assert hostile.count("</style>") == 1
    assert HOSTILE not in hostile


def test_a_page_fetches_nothing():
    html = make_report()
    assert not re.search(r"https?://|//cdn|url\((?!data:)|@import", html)
    sources = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert sources and all(source.startswith("data:image/png;base64,") for source in sources)
    assert "default-src &#x27;none&#x27;" in html or "default-src 'none'" in html


def test_a_trace_shows_crops_boxes_sources_terms_and_failures():
    question, episode, token_texts = make_example()
    html = trace.trace_html(question, episode, TERMS, Verdict.RIGHT, token_texts, (168, 224))
    assert html.count('<div class="look"') == 2 and html.count('class="box"') == 2
    assert "left:21.429%;top:16.667%;width:37.500%;height:33.333%" in html
    assert '<span class="forced"> (No view: a box needs x1 &lt; x2' in html
    assert html.count('title="p = ') == int(np.sum(episode.source == Source.SAMPLED))
    assert "6 image tokens" in html and "seen by the model at 224 x 168" in html
    assert '<span class="total">reward<b>2.572</b>' in html
    by_text = trace.trace_html(question, episode)
    assert "no view: swapped" in by_text and by_text.count('<div class="look"') == 2


def test_pieces_by_tokens_keep_order_and_need_one_text_a_token():
    _, episode, token_texts = make_example()
    found = pieces.cut(episode, token_texts)
    looks = [piece for piece in found if isinstance(piece, pieces.LookHere)]
    assert looks == [pieces.LookHere(0, 6), pieces.LookHere(2, 6)]
    words = "".join(piece.text for piece in found if isinstance(piece, pieces.Words))
    assert words == episode.text
    with pytest.raises(ValueError, match="1 token texts for an episode of"):
        pieces.cut(episode, token_texts[:1])


def test_pieces_by_text_put_each_look_behind_its_box():
    _, episode, _ = make_example()
    found = pieces.cut(episode)
    places = [i for i, piece in enumerate(found) if isinstance(piece, pieces.LookHere)]
    assert [found[i].index for i in places] == [0, 1, 2]
    assert all(found[i - 1].text.endswith("}") for i in places)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.13, 0.87, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0, 100, [0, 25, 50, 75, 100]),
        (3e-7, 9e-7, [2e-7, 4e-7, 6e-7, 8e-7, 1e-6]),
    ],
)
def test_ticks_are_round_and_span_the_values(low, high, expected):
    assert plot.ticks(low, high, 4) == pytest.approx(expected)


@pytest.mark.parametrize("value", [0.0, 1.0, -3.5, 1e-9, 1e12])
def test_a_flat_curve_and_a_single_point_can_be_plotted(value):
    svg = plot.line_plot("flat", [plot.Series("a", [0, 1], [value, value])])
    svg += plot.line_plot("one", [plot.Series("a", [3], [value])])
    assert "nan" not in svg and "inf" not in svg
    low, *_, high = plot.ticks(value, value, 4)
    assert low <= value <= high


def test_the_steep_start_of_a_long_curve_does_not_set_the_scale():
    steep = [5.0, 2.0] + [0.04 + 0.01 * (i % 2) for i in range(78)]
    svg = plot.line_plot("Loss", [plot.Series("loss", range(80), steep)])
    assert ">0.05<" in svg and ">5<" not in svg and ">begins at 5<" in svg
    heights = [float(point.split(",")[1]) for point in re.findall(r"[\d.]+,-?[\d.]+", svg)]
    assert min(heights) > 0 and max(heights) < plot.HEIGHT


def test_a_series_of_unequal_or_infinite_values_is_an_error():
    with pytest.raises(ValueError, match="series 'a' has 2 x and 1 y values"):
        plot.Series("a", [0, 1], [0.0])
    with pytest.raises(ValueError, match="not finite"):
        plot.Series("a", [0], [float("nan")])


def test_a_table_row_needs_a_score_for_every_column():
    with pytest.raises(ValueError, match="row 'sft' of table 'Results' has 1 scores for 2 columns"):
        report.ResultTable("Results", ("one", "two"), {"sft": [SCORE]})


def test_a_score_without_an_interval_shows_none():
    exact, found = report.Score(0.27, 0.27, 0.27, 9), report.Score(0.5, 0.25, 0.75, 9)
    table = report.ResultTable("Results", ("one", "two"), {"chance": (exact, found)})
    html = report.report_html("", "", [table], {}, [], {})
    assert html.count('class="ci"') == 1 and "25.0 to 75.0" in html


def test_every_metric_is_plotted_once_the_unknown_ones_folded():
    html = make_report()
    for title in ("Loss", "Accuracy", "Looks per answer", "learning_rate"):
        assert html.count(f"<figcaption><span>{title}</span>") == 1
    assert "More metrics (1)" in html


def test_the_figure_is_1200_pixels_wide_and_shows_image_and_crops():
    question, episode, _ = make_example("A long question " * 12 + "x" * 300)
    picture = figure.trace_png(question, episode)
    assert picture.width == 1200 and picture.height > 600
    colours = {colour for _, colour in picture.getcolors(picture.width * picture.height)}
    assert {(192, 57, 43), (44, 110, 158), (213, 94, 0), (0, 158, 115)} <= colours


@pytest.mark.browser
def test_the_report_opens_in_a_browser_without_errors(tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("neither chromium nor google-chrome is installed")
    path = tmp_path / "index.html"
    path.write_text(make_report(HOSTILE), encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]
    done = subprocess.run(
        [browser, *flags, f"--user-data-dir={tmp_path / 'profile'}", path.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "CONSOLE" not in done.stderr
    assert "47 + 83 = 130." in done.stdout
    assert "<title>hit" not in done.stdout
