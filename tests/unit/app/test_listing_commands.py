"""What is typed about a listing, what is shown of one, and how long work is watched."""

from __future__ import annotations

import datetime as dt
import signal
from decimal import Decimal
from types import SimpleNamespace

import msgspec
import pytest

from hanse.app.answers import Answer, plain
from hanse.app.command_line import Line, run_line
from hanse.app.commands import listing_search
from hanse.app.commands.listing_bodies import preview_lines, rows_of
from hanse.app.commands.listing_card import CardFileUnfit, UnknownCardFile, read_given_card
from hanse.app.commands.listing_cards import card_lines, stated_lines
from hanse.app.commands.listing_drafts import typed_price
from hanse.app.commands.listing_search import command_line
from hanse.app.commands.listing_typed import read_time, understand
from hanse.app.commands.listing_words import facet_value
from hanse.app.commands.sizes import BadSize, parse_size
from hanse.app.desk import Desk
from hanse.app.progress import long_work
from hanse.core.engine.naming import NothingNamed, SeveralNamed, TooFewDigits, id_digits, the_one
from hanse.core.engine.redraft import total_of
from hanse.core.engine.signing import Preview, ShownEntry
from hanse.core.errors import FileTooLarge
from hanse.core.ledger.kinds import Price1
from hanse.core.limits import HUB_CARD_SIZE_BYTES_MAX
from hanse.core.market.catalogue_query import CatalogueQuery
from hanse.core.market.claims import metric_changes
from hanse.core.market.listing_bodies import named_terms, price_body, release_body
from hanse.core.model.card import CHECKLIST, ModelCard, Result
from hanse.core.model.control import Cancelled
from hanse.core.model.ids import BadId
from hanse.core.model.licence import RIGHTS
from hanse.core.model.listing import Draft, PriceTerm
from hanse.core.model.money import Money
from hanse.core.sentences import LANGUAGES, say
from tests.fakes.console import FakeConsole
from tests.fakes.drafts import small_draft, tier

RELEASE = bytes(range(32))


def desk(language="en", *, is_json=False, is_yes=False, data_dir=None):
    settings = SimpleNamespace(lang=language, is_json=is_json, is_yes=is_yes, data_dir=data_dir)
    return Desk(SimpleNamespace(settings=settings), FakeConsole())


def base_named(_digits):
    return RELEASE, "Base"


def said(**typed):
    return understand(typed, base_named)


def edited(draft=None, **typed):
    found = said(**typed)
    assert found.problems == []
    return found.edit(draft or Draft())


def codes(**typed):
    return [problem.code for problem in said(**typed).problems]


# --- what is typed --------------------------------------------------------------------------


def test_what_was_not_typed_leaves_the_draft_alone():
    draft = small_draft(tags=("a",), sectors=("retail",), summary="short")
    assert edited(draft, name=None, tag=(), sector=(), original=False) == draft


def test_what_was_typed_stands_in_the_draft():
    draft = edited(
        name="N",
        description="D" * 600,
        price="12.50",
        currency="eur",
        sector=("finance", "零售"),
        tag=("x", "y"),
        language="de",
        release_version="2.0.0",
        notes="new",
        capacity=5,
        price_term=("launch=-10.00", "a=b=1"),
        original=True,
    )
    assert (draft.title, draft.text, draft.summary) == ("N", "D" * 600, "D" * 500)
    assert (draft.price, draft.currency, draft.version) == ("12.50", "eur", "2.0.0")
    assert (draft.sectors, draft.tags) == (("finance", "零售"), ("x", "y"))
    assert (draft.lang, draft.capacity, draft.notes) == ("de", 5, "new")
    assert draft.price_terms == (
        PriceTerm(name="launch", amount="-10.00"),
        PriceTerm(name="a=b", amount="1"),
    )
    assert draft.card.lineage.is_original is True


def test_an_empty_text_empties_a_list():
    draft = small_draft(tags=("a",), price_terms=(PriceTerm(name="n", amount="1"),))
    draft = edited(draft, tag=("",), price_term=("",), trial=("",))
    assert (draft.tags, draft.price_terms, draft.trials) == ((), (), ())


def test_a_text_file_is_the_long_text_beside_the_description(tmp_path):
    path = tmp_path / "text.md"
    path.write_bytes("\ufeff# 长文\r\n".encode())
    draft = edited(description="short", text_file=path)
    assert (draft.summary, draft.text) == ("short", "# 长文\r\n")


def test_tiers_are_the_licence_and_then_the_others():
    draft = edited(licence="internal-1", tier=("team=saas-1:250", "try=evaluation-1"))
    assert [(it.name, it.price) for it in draft.tiers] == [
        ("standard", ""),
        ("team", "250"),
        ("try", ""),
    ]
    assert edited(tier=("only=saas-1",)).tiers[0].name == "only"


def test_an_spdx_id_finds_its_template():
    assert edited(spdx="mit").tiers[0].terms == edited(licence="open-mit").tiers[0].terms
    assert codes(spdx="EUPL-1.2") == ["typed.licence_text_needed"]


def test_an_own_licence_grants_only_what_is_said(tmp_path):
    path = tmp_path / "own.txt"
    path.write_text("You may.", "utf-8")
    rights = ("commercial=yes", "fine-tune=3", "resale=no")
    [own] = edited(licence_file=path, right=rights, spdx="LicenseRef-mine").tiers
    assert (own.text, own.terms.spdx) == ("You may.", "LicenseRef-mine")
    granted = {name: own.terms.right(name) for name in RIGHTS if own.terms.right(name)}
    assert (granted, own.terms.clauses) == ({"commercial": 1, "fine_tune": 2}, {"fine_tune": 3})
    [like] = edited(licence_file=path, licence="open-mit", right=("resale=no",)).tiers
    assert (like.terms.commercial, like.terms.resale) == (1, 0)


def test_a_base_is_a_release_held_here_or_a_name():
    draft = edited(base=("00010203", "org/name=MIT:finetune", "other=CC-BY-4.0"))
    first, second, third = draft.card.lineage.base_models
    assert (first.release, first.name, first.id) == (RELEASE, "Base", "")
    assert (second.id, second.licence, second.relation) == ("org/name", "MIT", "finetune")
    assert (third.name, third.licence, third.relation) == ("other", "CC-BY-4.0", None)


def test_trials_are_switched_on_with_their_values():
    artifact = "ab" * 32
    draft = edited(trial=("sealed=20:14:certify", "answers=5:100:full", f"open={artifact}:smaller"))
    ways = draft.card.trial
    assert (ways.sealed_local.runs, ways.sealed_local.days, ways.sealed_local.certify) == (
        *(20, 14),
        True,
    )
    assert (ways.signed_answers.per_buyer, ways.signed_answers.shown) == (5, "full")
    assert (ways.open.artifact.hex(), ways.open.relation) == (artifact, "smaller")


@pytest.mark.parametrize(
    "typed",
    [
        {"tier": ("x",)},
        {"tier": ("=saas-1",)},
        {"base": ("m=MIT:copied",)},
        {"base": ("=MIT",)},
        {"trial": ("never",)},
        {"trial": ("sealed",)},
        {"trial": ("sealed=0:1",)},
        {"trial": ("sealed=1:99999999999999",)},
        {"trial": ("sealed=1:1:other",)},
        {"trial": ("answers=1:1:all",)},
        {"trial": ("open=ab:smaller",)},
        {"trial": ("open=" + "ab" * 32 + ":bigger",)},
        {"valid_until": "tomorrow"},
        {"price_term": ("x",)},
        {"price_term": ("=1",)},
    ],
    ids=str,
)
def test_what_has_no_form_is_told_with_the_form(typed):
    [problem] = said(**typed).problems
    assert problem.code == "typed.form"
    for language in LANGUAGES:
        assert problem.values["form"] in say(problem.code, problem.values, language)


def test_everything_wrong_is_told_at_once(tmp_path):
    missing = tmp_path / "none.toml"
    found = codes(
        card=missing,
        text_file=tmp_path,
        licence="comercial",
        right=("x=yes",),
        tier=("a=nope",),
        original=True,
        base=("b",),
    )
    assert found == [
        "file.unreadable",
        "file.unreadable",
        "licence.unknown_template",
        "typed.right_without_text",
        "licence.unknown_template",
        "typed.original_with_base",
    ]


@pytest.mark.parametrize("right", ["x=yes", "commercial", "commercial=maybe", "resale=0"])
def test_a_right_that_there_is_not_is_told(tmp_path, right):
    path = tmp_path / "own.txt"
    path.write_text("You may.", "utf-8")
    assert codes(licence_file=path, right=(right,)) == ["typed.form"]


def test_a_file_that_is_no_text_says_where(tmp_path):
    path = tmp_path / "own.txt"
    path.write_bytes(b"ab\xff")
    [problem] = said(licence_file=path).problems
    assert (problem.code, problem.values["position"]) == ("file.not_text", 2)


def test_a_day_ends_at_its_end_and_a_time_is_taken_as_it_is():
    day = dt.datetime(2027, 12, 31, 23, 59, 59).astimezone()
    assert read_time("2027-12-31") == int(day.timestamp() * 1000)
    assert read_time("1970-01-01T00:00:01+00:00") == 1000
    for text in ("", "x", "2027-13-01", "9999-12-31T23:59:59-23:59" * 2):
        assert read_time(text) is None


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("20GB", 20 * 10**9), (" 1.5 tib ", 3 * 2**39), ("4096", 4096), ("1kB", 1000)],
)
def test_a_size_is_read_as_people_write_it(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1", "1 XB", "1e9", "1,5GB", "9" * 16])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(BadSize):
        parse_size(text)


# --- cards ----------------------------------------------------------------------------------

CARD = """\
lang = "en"

[[claims]]
metric = "accuracy"
value = 0.9740001
sha256 = "{digest}"

[energy]
training_wh = 12

[[signature.inputs]]
name = "x"
dtype = "float32"
low = -1
high = 2.5

[[recipe.pre]]
op = "scale"
numbers = [0.5, 1]

[checklist]
may_sell = "yes"
"""


def test_a_toml_card_has_exact_figures_hashes_and_a_checklist(tmp_path):
    path = tmp_path / "card.toml"
    path.write_text(CARD.format(digest="AB" * 32), "utf-8")
    draft = read_given_card(path).change(small_draft())
    [claim] = draft.card.claims
    assert (claim.value_micro, claim.sha256) == (974_000, b"\xab" * 32)
    [tensor] = draft.card.signature.inputs
    assert (tensor.low_micro, tensor.high_micro) == (-1_000_000, 2_500_000)
    assert draft.card.recipe.pre[0].numbers_micro == (500_000, 1_000_000)
    assert draft.card.checklist == ("yes",) + ("not_stated",) * (len(CHECKLIST) - 1)
    assert draft.card.energy.training_wh == 12


def test_a_card_leaves_the_groups_it_does_not_name(tmp_path):
    path = tmp_path / "card.toml"
    path.write_text("[energy]\nco2e_g = 3\n", "utf-8")
    claims = (Result(metric="f1", value_micro=1),)
    draft = small_draft(card=ModelCard(claims=claims))
    changed = read_given_card(path).change(draft)
    assert (changed.card.claims, changed.card.energy.co2e_g) == (claims, 3)


def test_a_hub_card_is_taken_with_its_licence_and_gives_way_to_what_is_typed(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(
        "---\nlicense: mit\ntags: [one]\nwidget: x\n---\n# Title\n\nLong text\n", "utf-8"
    )
    found = said(card=path, name="Mine")
    draft = found.edit(Draft())
    assert (draft.title, draft.text, draft.tags) == ("Mine", "Long text", ("one",))
    assert draft.tiers[0].terms.spdx == "MIT"
    assert [note.code for note in found.notes] == ["hub_card.no_place"]
    assert edited(card=path, licence="saas-1").tiers[0].terms.spdx != "MIT"


def test_a_hub_card_of_a_licence_without_template_is_told(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("---\nlicense: gpl-3.0\n---\n# T\n", "utf-8")
    found = said(card=path)
    assert [note.code for note in found.notes] == ["typed.card_licence"]
    assert found.edit(Draft()).tiers == ()


@pytest.mark.parametrize(
    "text",
    [
        "x = 1",
        "[use]\nuser = 'x'",
        "[use]\nusers = 1",
        "[[claims]]\nmetric = 'a'\nvalue = 'much'",
        "[[claims]]\nmetric = 'a'\nvalue = 1\nsha256 = 'ab'",
        "[checklist]\nnothing = 'yes'",
        "[checklist]\nmay_sell = 'perhaps'",
        "not toml",
        "[recipe]\nlabels = 5",
        "claims = [[[[]]]]",
    ],
)
def test_a_card_that_is_none_is_refused_by_name(tmp_path, text):
    path = tmp_path / "card.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(CardFileUnfit) as caught:
        read_given_card(path)
    assert caught.value.values["path"] == path


def test_a_card_of_another_kind_or_size_is_refused(tmp_path):
    with pytest.raises(UnknownCardFile):
        read_given_card(tmp_path / "card.json")
    path = tmp_path / "card.md"
    path.write_bytes(b"x" * (HUB_CARD_SIZE_BYTES_MAX + 1))
    with pytest.raises(FileTooLarge):
        read_given_card(path)


# --- what is shown --------------------------------------------------------------------------


def preview_of(*bodies):
    entries = [
        ShownEntry(kind, msgspec.structs.asdict(body), b"h" * 32, 100, b"i" * 32)
        for kind, body in bodies
    ]
    return Preview(tuple(entries), 1, 0, (), ())


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_preview_shows_every_field_of_a_body(language):
    draft = small_draft(
        price_terms=(PriceTerm(name="launch", amount="-20.00"),),
        tiers=(tier(), tier("saas-1", "team", "250")),
        notes="one\ntwo",
    )
    release = release_body(draft, b"s" * 16, listing=b"l" * 32, card=b"c" * 32, seal=None)
    price = price_body(draft, b"s" * 16, listing=b"l" * 32)
    lines = preview_lines(desk(language), preview_of(("release/1", release), ("price/1", price)))
    text = "\n".join(lines)
    for value in (b"l" * 32, b"c" * 32, b"h" * 32, b"i" * 32, b"a" * 32, b"s" * 16):
        assert value.hex() in text
    for name in RIGHTS:
        assert text.count(say(f"word.right.{name}", {}, language)) >= 2
    money = {"en": ("$100.00", "$80.00", "-$20.00"), "zh_CN": ("US$100.00", "US$80.00")}
    assert all(amount in text for amount in money[language])
    assert "26143" in text
    fields = len(release.__struct_fields__) + len(price.__struct_fields__) + 2 * 2
    assert sum(line.startswith("  ") and line[2] != " " for line in lines) == fields


def test_further_lines_of_a_value_stand_below_its_first():
    assert rows_of([("a", "1\n2"), ("名称", "3")], " ") == (" a     1\n       2", " 名称  3")


def test_stated_fields_of_a_card_are_shown_and_no_others():
    card = ModelCard(claims=(Result(metric="acc", value_micro=874_000),))
    assert [line.split() for line in stated_lines(desk(), card)] == [
        ["card.claims[0].metric", "acc"],
        ["card.claims[0].value_micro", "0.874"],
    ]
    assert card_lines(desk(), ModelCard()) == []
    assert "acc, 0.874" in "\n".join(card_lines(desk(), card))


def test_a_typed_price_that_is_none_is_shown_as_typed():
    assert typed_price(desk(), "99.5", "USD") == "$99.50"
    assert typed_price(desk(), "12.345", "EUR") == "12.345 EUR"
    assert typed_price(desk(), " ", "EUR") == "-"


@pytest.mark.parametrize(
    ("facet", "value", "english", "chinese"),
    [
        ("sector", "finance", "finance", "金融"),
        ("task", "of-the-future", "of-the-future", "of-the-future"),
        ("licence", "licenseref-hanse-commercial-1", "Commercial use", "商业使用"),
        ("licence", "x-1", "x-1", "x-1"),
        ("right", "resale", "resale", "转售"),
        ("trial", "open", "open trial edition", None),
        ("level", "1", "1 (well-formed)", "1（格式正确）"),
        ("level", "9", "9", "9"),
        ("lang", "zh", "Chinese", "中文"),
        ("state", "paused", "paused", "已暂停"),
        ("price_band", "usd:free", "free (USD)", "免费（USD）"),
        ("price_band", "usd:lt100", "below $100.00", "低于 US$100.00"),
        ("price_band", "jpy:more", "¥10,000 and more", None),
        ("price_band", "ask", "on request", "价格面议"),
        ("size_band", "lt10mb", "below 10.0 MB", "小于 10.0 MB"),
        ("size_band", "more", "10.0 GB and more", "10.0 GB 及以上"),
    ],
)
def test_a_facet_value_is_said_in_the_persons_language(facet, value, english, chinese):
    assert facet_value(desk(), facet, value) == english
    if chinese is not None:
        assert facet_value(desk("zh_CN"), facet, value) == chinese


def test_structs_become_plain_values_for_json():
    shown = plain({"money": Money(5, "USD", 2), "price": Decimal("1.5")})
    assert shown == {"money": {"amount": 5, "currency": "USD", "exponent": 2}, "price": "1.5"}


# --- searching ------------------------------------------------------------------------------


def test_the_command_line_of_a_query_asks_the_same_query(monkeypatch):
    query = CatalogueQuery(
        text="图像 a'b -x",
        sectors=("finance", "retail"),
        formats=("onnx",),
        licences=("MIT",),
        rights=("fine_tune",),
        trials=("sealed",),
        langs=("zh",),
        currency="EUR",
        price_min_micro=1_500_000,
        price_max_micro=20_000_000,
        size_max=5_000_000,
        level_min=2,
        contradicted=False,
        identity=b"i" * 32,
        with_paused=True,
        sort="price_up",
    )
    asked = []

    class Engine:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

    def page(_desk, _engine, query, after, limit, *, is_counting):
        asked.append((query, after, limit, is_counting))
        return Answer({})

    monkeypatch.setattr(listing_search, "_page", page)
    at = desk()
    at.reading = Engine

    def act(command, values):
        assert command.words == ("listing", "search")
        listing_search.search(at, **values)
        return 0

    written = command_line(at, query, limit=7, after="abc")
    line = Line(act, print, str, "en")
    assert run_line(listing_search.shlex.split(written)[1:], line) == 0
    assert asked == [(query, "abc", 7, False)]


def test_the_next_page_names_the_folder_that_was_named(tmp_path):
    written = command_line(desk(data_dir=tmp_path), CatalogueQuery())
    assert written == f"hanse listing search --data-dir {tmp_path}"


# --- ids ------------------------------------------------------------------------------------


def test_digits_of_an_id_are_taken_in_any_case_and_bounded():
    assert id_digits(" DEADBEEF ") == "deadbeef"
    for text in ("", "xyz12345", "ab" * 33):
        with pytest.raises(BadId):
            id_digits(text)
    with pytest.raises(TooFewDigits):
        id_digits("abcdef0")


def test_one_thing_must_be_meant():
    assert the_one("ab", "draft", [b"\xab"]) == b"\xab"
    with pytest.raises(NothingNamed):
        the_one("ab", "draft", [])
    with pytest.raises(SeveralNamed) as caught:
        the_one("ab", "listing", [b"\xab\x01", b"\xab\x02"])
    assert "ab01, ab02" in say(caught.value.code, caught.value.values, "en")


# --- figures and prices of strangers ----------------------------------------------------------


def test_figures_that_changed_are_told_and_also_those_left_out():
    def card(**figures):
        return ModelCard(claims=tuple(Result(metric=k, value_micro=v) for k, v in figures.items()))

    changes = metric_changes(card(acc=1, f1=2, auc=3), card(acc=1, f1=4, mae=5))
    assert [(it.metric, it.before_micro, it.after_micro) for it in changes] == [
        ("f1", 2, 4),
        ("auc", 3, None),
        ("mae", None, 5),
    ]


@pytest.mark.parametrize(
    "terms", [5, "ab", [5], [["a"]], [["a", "b"]], [["a", True]], [[b"a", 1]], {"a": 1}]
)
def test_named_terms_of_a_stranger_that_are_none_are_passed_over(terms):
    assert named_terms({"terms": terms}) == ()
    price = Price1(
        salt=b"s" * 16,
        listing=b"l" * 32,
        release=None,
        mode="fixed",
        amount=Money(500, "QQQ", 3),
        floor=0,
        ceil=500,
        tick=1,
        params={"terms": terms},
        anchors=(),
    )
    assert total_of(price) == Money(500, "QQQ", 3)


# --- long work --------------------------------------------------------------------------------


def test_progress_shows_stage_and_percent_and_is_cleared():
    at = desk("zh_CN")
    with long_work(at) as progress:
        progress.control.checkpoint("import", 1, 4)
        progress.control.checkpoint("import", 2, 4)  # too soon after the first
        progress.control.checkpoint("inspect", 0, 1)
    assert at.console.shown == ["正在导入：25 %", "检查模型……", ""]


def test_progress_is_silent_with_json():
    at = desk(is_json=True)
    with long_work(at) as progress:
        progress.control.checkpoint("import", 1, 4)
    assert at.console.shown == []


def test_the_first_interrupt_cancels_the_work_and_the_second_ends_it():
    before = signal.getsignal(signal.SIGINT)
    with long_work(desk()) as progress:
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(Cancelled):
            progress.control.checkpoint("import", 1, 4)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_while_somebody_is_asked_an_interrupt_is_one():
    with long_work(desk()) as progress:
        with progress.asking(), pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert not progress.control.is_cancelled
