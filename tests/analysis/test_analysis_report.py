"""The report as a text: it needs nothing beside it, and nothing in it is left unsaid."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pyarrow as pa
import pytest
from synthetic import make_sweep

import grokray
from grokray.analysis.figures.style import PALETTE
from grokray.analysis.report.page import render, write_report
from grokray.analysis.report.pictured import counted_of, critical, effects, survival
from grokray.analysis.report.svg import embedded
from grokray.errors import FolderError

VOID = {"meta", "link", "br", "hr", "img", "input"}


@pytest.fixture(scope="module")
def page(sweep_path) -> str:
    return render(grokray.load(sweep_path))


class _Reader(HTMLParser):
    """Tags in their order, ids, and whether all that is opened is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.figures: list[str] = []
        self.captions = 0

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        self.ids += [values["id"]] if values.get("id") else []
        self.addresses += [values[name] for name in ("href", "src", "xlink:href") if values.get(name)]
        if tag == "svg":
            self.figures.append(f"{values.get('role')}: {values.get('aria-label')}")
        self.captions += tag == "figcaption"

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def read(page: str) -> _Reader:
    reader = _Reader()
    reader.feed(page)
    return reader


def test_it_is_well_formed_and_ids_are_its_own(page):
    reader = read(page)
    assert reader.open == []
    assert len(set(reader.ids)) == len(reader.ids)
    targets = {address[1:] for address in reader.addresses if address.startswith("#")}
    assert targets <= set(reader.ids)
    assert set(re.findall(r"url\(#([^)]+)\)", page)) <= set(reader.ids)


def test_it_needs_nothing_beside_it(page):
    assert {address for address in read(page).addresses if not address.startswith("#")} == {"data:,"}
    assert not re.search(r"@import|@font-face|<script|url\((?!#)", page)


def test_every_figure_is_described_and_has_a_caption_with_numbers(page):
    reader = read(page)
    assert len(reader.figures) >= 15
    assert reader.captions == len(reader.figures)
    assert all(re.fullmatch(r"img: .{30,}", text) for text in reader.figures)
    assert all("trials" in text or " of " in text for text in reader.figures)


def test_captions_say_how_many_trials_count(page, sweep_path):
    trials = grokray.load(sweep_path).trials
    counting = int((trials["outcome"] != "pruned").sum())
    assert 0 < counting < len(trials)
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page)
    both = f"{len(trials):,} trials, of which {counting:,} count"
    (when,) = [text for text in captions if text.startswith("Factors on the time to grok")]  # of those that do
    assert f"{len(trials):,} trials, of which {int(trials['event_observed'].sum()):,} count" in when
    others = [text for text in captions if "trials" in text and "Phase diagram" not in text and text != when]
    assert [text for text in others if both not in text] == []
    diagrams = [text for text in captions if "Phase diagram" in text]
    assert diagrams
    assert all(f"{len(trials):,} trials, shares of {counting:,}" in text for text in diagrams)


def test_captions_speak_of_bands_only_where_there_are_some(sweep_path, monkeypatch):
    most, a = 3, grokray.load(sweep_path)
    monkeypatch.setattr("grokray.analysis.report.pictured.MOST_BANDS", most)
    numbers = [len(curves) for curves in a.survival().estimates.groups.values()]
    _, *by_parameter = survival(a).pictures
    assert {number > most for number in numbers[: len(by_parameter)]} == {True, False}
    for number, picture in zip(numbers, by_parameter, strict=False):
        assert picture.caption.endswith("95 % bands.") == (number <= most)


def test_captions_of_typical_trials_name_what_varied(page, sweep_path):
    varied = grokray.load(sweep_path).overview().tables["parameters"]["parameter"].tolist()
    captions = [text for text in re.findall("<figcaption>([^<]*)<", page) if "the median " in text]
    assert captions
    for caption in captions:
        named = [setting.split()[0] for setting in caption.split("; ")[1].split(", ")]
        assert "weight_decay" in named
        assert set(named) <= set(varied)


def test_no_figure_of_groups_where_nobody_grokked(sweep_path, monkeypatch):
    a = grokray.load(sweep_path)
    assert len(survival(a).pictures) > 1
    trials = a.sweeps.trials
    nobody = trials.set_column(
        trials.column_names.index("grok_step"), "grok_step", pa.nulls(trials.num_rows, pa.int64())
    )
    a = grokray.Analysis(replace(a.sweeps, trials=nobody))
    assert len(survival(a).pictures) == 1


def test_one_trial_is_not_called_trials(tmp_path):
    make_sweep(tmp_path / "one", 1, seeds=1)
    page = render(grokray.load(tmp_path / "one"))
    assert '<p class="kicker">one · 1 trial</p>' in page
    assert "1 trials" not in page
    # The name of a column keeps its first letter.
    assert re.search(r'<p class="missing">training_fraction is always 0\.\d+\.</p>', page)


def test_no_figure_of_effects_of_which_none_is_known(sweep_path, monkeypatch):
    a = grokray.load(sweep_path)
    found = a.effects()
    assert len(effects(a).pictures) == 2
    tables = {**found.tables, "when": found.tables["when"].assign(time_ratio=float("nan"))}
    monkeypatch.setattr(a, "effects", lambda: replace(found, tables=tables))
    section = effects(a)
    assert [picture.caption[:24] for picture in section.pictures] == ["Points that are added to"]
    assert [table.caption for table in section.tables] == ["Whether a trial groks", "When it does"]


def test_of_many_critical_fractions_that_are_not_known_the_caption_tells(tmp_path):
    make_sweep(tmp_path / "s", 240, curves=False, scheduler="fifo")
    analysis = grokray.load(tmp_path / "s")
    names = [f"expr:({number}*x + y) % p" for number in range(20)]
    trials = analysis.sweeps.trials
    operation = pa.array([names[max(number - 150, 0) // 3 % 20] for number in range(trials.num_rows)])
    trials = trials.set_column(trials.column_names.index("operation"), "operation", operation)
    analysis.sweeps = replace(analysis.sweeps, trials=trials)
    finding = analysis.critical_fraction()
    known = int(finding.table["fraction"].notna().sum())
    assert 0 < known < len(finding.table) > 12
    (picture,) = critical(analysis).pictures
    assert picture.caption.endswith(f"{known} of {len(finding.table)} groups are drawn; the table tells of all.")


def test_where_all_trials_count_their_number_is_enough():
    assert counted_of(216, 101) == "216 trials, of which 101 count"
    assert counted_of(1_216, 1_216) == "1,216 trials"


def test_colours_follow_the_page(page):
    variables = set(re.findall(r"var\(--([a-z]+)\)", page))
    light, dark = (page.split("prefers-color-scheme: dark")[part] for part in (0, 1))
    assert all(f"--{name}:" in light for name in variables)
    assert {"paper", "ink", "muted", "grid", "blue"} <= variables
    assert "--paper: #14171b" in dark
    figures = "".join(re.findall(r"<svg.*?</svg>", page, re.DOTALL))
    assert not [colour for colour in PALETTE.values() if colour.lower() in figures.lower()]


def test_it_holds_what_repeats_it(page, sweep_path):
    yaml = (sweep_path / "sweep.yaml").read_text()
    assert "log_uniform_values" in yaml
    assert yaml.splitlines()[3] in page
    assert "grokray sweep robust.yaml" not in page
    assert "grokray sweep synthetic.yaml" in page
    assert "grokray 0.1.0, ray 2.60.0, torch 2.13.0" in page or "torch 2.13.0, ray 2.60.0" in page


def test_the_headline_is_the_robustness_with_its_interval(page, sweep_path):
    summary = grokray.load(sweep_path).robustness().summary
    (headline,) = re.findall(r'<p class="headline">(.*?)</p>', page)
    assert headline.replace("\u00a0", " ") == summary


def test_names_are_escaped(tmp_path):
    make_sweep(tmp_path / "a<b>&c", 30, curves=False)
    page = render(grokray.load(tmp_path / "a<b>&c"))
    assert "a<b>" not in page
    assert "a&lt;b&gt;&amp;c" in page


def test_the_same_sweep_gives_the_same_page(page, sweep_path):
    assert render(grokray.load(sweep_path)) == page


def test_a_place_that_cannot_be_written(tmp_path, sweep_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderError, match="cannot write"):
        write_report(grokray.load(sweep_path), tmp_path / "file" / "report.html")


def test_figures_of_a_page_do_not_share_ids():
    text = '<?xml?><svg viewBox="0 0 9 9" width="9pt"><style>*{}</style><g id="p1"/><use href="#p1" x="1.23456"/></svg>'
    opening = '<svg role="img" aria-label="it&quot;s" viewBox="0 0 9 9" class="figure">'
    assert embedded(text, "a", 'it"s') == f'{opening}<g id="a-p1"/><use href="#a-p1" x="1.23"/></svg>'
