"""``publish_model`` as the article calls it: four values, one line, nothing said twice."""

from __future__ import annotations

import inspect
import json
import os
import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from hanse.core import Ledger, publish_model
from hanse.core.engine.publish_call import (
    BadArguments,
    BadArgumentTypes,
    PublishCancelled,
    Published,
    PublishRefused,
)
from hanse.core.errors import AccountLocked, NoAccount, StoreLocked, WrongPassphrase
from hanse.core.ledger.kinds import Listing1, Price1, Release1
from hanse.core.market.currencies import FloatMoney
from hanse.core.sentences import LANGUAGES, say
from hanse.core.store.drafts import DraftState
from tests.fakes.content import some_bytes
from tests.fakes.people import PASSPHRASE, Person
from tests.fakes.shop import (
    ARTICLES_MODEL,
    EXAMPLES,
    body_of,
    check_whole,
    plain_weights,
    seller,
)

ROOT = Path(__file__).parents[2]
NAME, TEXT = "图像识别模型", "用于图像识别的AI模型"
DONE = f"模型 '{NAME}' 已发布。"
FAILED = f"模型 '{NAME}' 发布失败。"


class Call:
    """``publish_model`` of one Person, and the lines it printed."""

    def __init__(self, person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HANSE_CONFIG_DIR", str(person.home.config))
        self.person = person
        self.lines: list[str] = []
        self.before = self.seqs()

    def __call__(self, *values: object, **named: object) -> Published:
        self.lines.clear()
        named = {"lang": "en", "passphrase": PASSPHRASE, "echo": self.lines.append, **named}
        return publish_model(*values, data_dir=self.person.home.folder, **named)

    def drafts(self) -> set[bytes]:
        """Return the Drafts that are not published."""
        with self.person.open(unlocked=False) as engine:
            return {one.draft_id for one in engine.publishing.drafts()}

    def seqs(self) -> int:
        """Return how many Entries the Device has signed."""
        with self.person.open(unlocked=False) as engine:
            return engine.ledger.show()[-1].seq


@pytest.fixture(scope="module")
def anna(tmp_path_factory: pytest.TempPathFactory) -> Person:
    return seller(tmp_path_factory.mktemp("anna"))


@pytest.fixture
def call(anna: Person, monkeypatch: pytest.MonkeyPatch) -> Call:
    return Call(anna, monkeypatch)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return plain_weights(tmp_path / "weights", seed=str(tmp_path))


def run_the_article(person: Person, tmp_path: Path, **environ: str) -> subprocess.CompletedProcess:
    """Run the article's listing in its folder, as a person at a terminal does."""
    secret = tmp_path / "passphrase"
    secret.write_text(PASSPHRASE + "\n")
    secret.chmod(0o600)
    known = {name: os.environ[name] for name in ("HOME", "PATH", "XDG_RUNTIME_DIR")}
    return subprocess.run(
        [sys.executable, "publish_model.py"],
        cwd=EXAMPLES,
        env={
            **known,
            "HANSE_DATA_DIR": str(person.home.folder),
            "HANSE_CONFIG_DIR": str(person.home.config),
            "HANSE_PASSPHRASE_FILE": str(secret),
            **environ,
        },
        capture_output=True,
        timeout=120,
        check=False,
    )


# --- the article ----------------------------------------------------------------------------


def test_the_four_parameters_come_first_and_in_the_articles_order() -> None:
    parameters = list(inspect.signature(publish_model).parameters.values())
    assert [one.name for one in parameters[:4]] == [
        "model_name",
        "model_description",
        "model_file",
        "price",
    ]
    assert all(one.kind is one.POSITIONAL_OR_KEYWORD for one in parameters[:4])
    assert all(one.default is one.empty for one in parameters[:4])
    assert all(one.kind is one.KEYWORD_ONLY for one in parameters[4:])
    assert all(one.default is not one.empty for one in parameters[4:])


def test_the_articles_listing_is_the_one_call_with_its_import_changed() -> None:
    lines = (EXAMPLES / "publish_model.py").read_text("utf-8").splitlines()
    code = [line for line in lines if line and not line.startswith("#")]
    assert code == [
        "from hanse.core import publish_model",
        f"publish_model('{NAME}', '{TEXT}', 'image_recognition_model.h5', 100)",
    ]


@pytest.mark.parametrize(
    "environ",
    [{"LC_ALL": "zh_CN.UTF-8"}, {"LC_ALL": "C", "HANSE_LANG": "zh_CN"}],
    ids=["a Chinese locale", "no locale but Chinese asked for"],
)
def test_the_articles_listing_runs_unchanged_and_prints_its_line(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    person = seller(tmp_path)
    ran = run_the_article(person, tmp_path, **environ)
    assert ran.stderr == b""
    assert ran.returncode == 0
    assert ran.stdout == f"{DONE}\n".encode()
    with person.open() as engine:
        (row,) = engine.catalogue.own()
        shown = engine.catalogue.show(row.listing)
        assert (shown.row.title, shown.row.text, shown.row.lang) == (NAME, TEXT, "zh-CN")
        assert shown.price.amount.amount == 10_000
        assert (shown.price.amount.currency, shown.price.amount.exponent) == ("USD", 2)
        assert shown.release.formats == ("onnx",)
        assert shown.release.seal is not None
        assert engine.catalogue.show(row.listing).row.task == "image-classification"
        check_whole(engine)


def test_english_says_english_and_the_object_holds_the_articles_transaction(call: Call) -> None:
    done = call(NAME, TEXT, ARTICLES_MODEL, 100)
    assert call.lines == [f"Model '{NAME}' has been published."]
    assert done.to_dict() == {
        "model_name": NAME,
        "model_description": TEXT,
        "model_file": "image_recognition_model.h5",
        "price": 100,
        "status": "published",
    }
    assert list(done.to_dict()) == [
        "model_name", "model_description", "model_file", "price", "status",
    ]  # fmt: skip
    assert json.loads(json.dumps(done.to_dict(), ensure_ascii=False)) == done.to_dict()
    assert (done.author, done.level) == (call.person.view.device, 2)
    assert done.seq == call.seqs() == call.before + 4  # with the Certificate

    # The same files a second time: the failure line, then why.
    with pytest.raises(PublishRefused) as caught:
        call(NAME, TEXT, ARTICLES_MODEL, 100, lang="zh_CN")
    assert call.lines == [FAILED, *caught.value.reasons]
    assert NAME in caught.value.reasons[0]
    assert isinstance(caught.value.reasons, tuple)
    assert call.seqs() == done.seq


def test_the_entry_is_a_block_that_names_the_former_head(call: Call, weights: Path) -> None:
    with Ledger.open(
        call.person.home.folder, config_dir=call.person.home.config, passphrase=PASSPHRASE
    ) as ledger:
        before = ledger.head()
    done = call(NAME, TEXT, weights, 100)
    with call.person.open() as engine:
        entries = [entry for entry in engine.ledger.show() if entry.seq > before.seq]
        bodies = [body_of(engine, entry.entry_id) for entry in entries]
        stored = [entry.entry_id for entry in entries]
        with engine.context.store.reads() as reads:
            headers = [reads.feeds.find(one).entry.header for one in stored]
    assert [entry.kind for entry in entries] == ["listing/1", "release/1", "price/1"]
    assert [type(body) for body in bodies] == [Listing1, Release1, Price1]
    assert headers[0].prev == before.entry_id
    assert [header.prev for header in headers[1:]] == stored[:-1]
    assert [header.seq for header in headers] == [before.seq + step for step in (1, 2, 3)]
    assert (stored[0], stored[1]) == (done.listing_id, done.release_id)


def test_nothing_is_printed_when_nobody_listens(
    call: Call, weights: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    call(NAME, TEXT, weights, 100, echo=None)
    with pytest.raises(PublishRefused):
        call(NAME, TEXT, weights, 100, echo=None)
    with pytest.raises(ValueError, match="price"):
        call(NAME, TEXT, weights, "", echo=None)
    assert capfd.readouterr() == ("", "")


def test_by_default_the_line_goes_to_standard_output(
    call: Call, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call(NAME, TEXT, weights, 100, echo=print, lang="zh_CN")
    assert capsys.readouterr().out == f"{DONE}\n"


def test_importing_the_core_brings_in_nothing_heavy() -> None:
    heavy = ("PySide6", "libp2p", "trio", "onnx", "onnxruntime", "sqlalchemy", "numpy", "alembic")
    program = (
        "import sys, hanse.core\n"
        f"print([name for name in {heavy} if name in sys.modules])\n"
        "from hanse.core import publish_model\n"
        "print([n for n in ('PySide6', 'libp2p', 'trio', 'onnxruntime') if n in sys.modules])\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert ran.stdout.splitlines() == ["[]", "[]"]


@pytest.mark.slow
def test_a_type_checker_accepts_the_articles_call(tmp_path: Path) -> None:
    script = tmp_path / "call.py"
    shutil.copyfile(EXAMPLES / "publish_model.py", script)
    with script.open("a", encoding="utf-8") as file:
        file.write(
            "from decimal import Decimal\nfrom pathlib import Path\n"
            "done = publish_model('a', 'b', Path('c'), Decimal('9.90'), currency='EUR')\n"
            "shown: dict[str, object] = done.to_dict()\n"
        )
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-incremental", str(script)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout


# --- what reaches the Ledger -----------------------------------------------------------------

NAMES = (
    "a model with spaces.bin",
    "模型 (最终版).bin",
    "it's `so`.bin",
    "..hidden.bin",
    "per%2Fcent&amp;.bin",
    "-rf.bin",
)


def test_no_path_of_this_machine_reaches_the_ledger_whatever_files_are_called(
    call: Call, tmp_path: Path
) -> None:
    nested = tmp_path / "secret-place" / "shown"
    for number, name in enumerate(NAMES):
        folder = nested / f"inner-{number}"
        folder.mkdir(parents=True)
        (folder / name).write_bytes(some_bytes(500, name))
    done = call("a folder", TEXT, nested, 5)
    assert done.to_dict()["model_file"] == "shown"
    single = tmp_path / "secret-place" / NAMES[0]
    single.write_bytes(some_bytes(500))
    assert call("a file", TEXT, single, 5).to_dict()["model_file"] == NAMES[0]

    with call.person.open() as engine:
        with engine.context.store.reads() as reads:
            stored = list(reads.feeds.entries(engine.context.device))
        row = engine.catalogue.show(done.listing_id).row
        small = [
            path.read_bytes()
            for path in (engine.context.home.folder / "store").rglob("*")
            if path.is_file() and not {"blobs", "layers"} & set(path.parts)
        ]
    raws = [one.entry.body for one in stored]
    assert len(raws) == call.before + 2 * 3
    assert any(NAMES[1].encode() in raw for raw in small)  # the Manifest names each file
    assert row.releases
    for raw in (*raws, *small):
        assert b"secret-place" not in raw
        assert str(tmp_path).encode() not in raw
        assert str(ROOT).encode() not in raw


def test_an_amount_may_be_whole_text_or_decimal(call: Call, tmp_path: Path) -> None:
    amounts = {}
    for price in (7, "19.90", Decimal("0.05")):
        file = plain_weights(tmp_path / f"at {price}")
        done = call(f"for {price}", TEXT, file, price, currency="EUR")
        assert done.to_dict()["price"] == price
        with call.person.open(unlocked=False) as engine:
            amounts[price] = engine.catalogue.show(done.listing_id).price.amount.amount
    assert amounts == {7: 700, "19.90": 1990, Decimal("0.05"): 5}


def test_the_currency_priced_in_last_is_the_usual_one(call: Call, tmp_path: Path) -> None:
    call("one", TEXT, plain_weights(tmp_path / "1"), 7, currency="CNY")
    done = call("two", TEXT, plain_weights(tmp_path / "2"), 8)
    with call.person.open(unlocked=False) as engine:
        assert engine.catalogue.show(done.listing_id).price.amount.currency == "CNY"


# --- refusals --------------------------------------------------------------------------------


def test_a_float_is_refused_with_a_sentence_that_says_what_to_write(
    call: Call, weights: Path
) -> None:
    for lang in LANGUAGES:
        with pytest.raises(TypeError) as caught:
            call(NAME, TEXT, weights, 99.5, lang=lang)
        assert isinstance(caught.value, BadArgumentTypes)
        assert caught.value.reasons == (say(FloatMoney.code, {"found": "99.5"}, lang),)
        assert call.lines == [say("publish.failed", {"model": NAME}, lang), *caught.value.reasons]
    assert call.seqs() == call.before


def test_every_argument_of_a_wrong_type_is_named_at_once(call: Call) -> None:
    with pytest.raises(TypeError) as caught:
        call(b"name", None, 7, True)
    assert len(caught.value.reasons) == 4
    for argument, reason in zip(
        ("model_name", "model_description", "model_file", "price"),
        caught.value.reasons,
        strict=True,
    ):
        assert argument in reason


def test_several_problems_come_as_one_error(call: Call, tmp_path: Path) -> None:
    missing, before = tmp_path / "missing.onnx", call.drafts()
    for lang in LANGUAGES:
        with pytest.raises(ValueError) as caught:  # noqa: PT011  the reasons are looked at below
            call("", TEXT, missing, -5, currency="XXQ", licence="comercial-1", lang=lang)
        assert isinstance(caught.value, BadArguments)
        reasons = caught.value.reasons
        assert call.lines == [say("publish.failed", {"model": ""}, lang), *reasons]
        assert say("import.missing", {"path": missing}, lang) in reasons
        assert any("commercial-1" in reason for reason in reasons)
        assert any("XXQ" in reason for reason in reasons)
        assert any("-5" in reason for reason in reasons)
        assert len(reasons) == len(set(reasons)) == 5
    assert call.seqs() == call.before
    assert call.drafts() == before


def test_an_empty_path_is_no_file_and_not_the_current_folder(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for nothing in ("", "\0"):
        with pytest.raises(BadArguments):
            call(NAME, TEXT, nothing, 5)
    assert call.seqs() == call.before


def test_a_name_that_no_terminal_can_print_is_refused_and_said(tmp_path: Path) -> None:
    person = seller(tmp_path)
    file = plain_weights(tmp_path / "w")
    program = (
        "from hanse.core import publish_model\n"
        "from hanse.core.errors import UserError\n"
        "try:\n"
        f"    publish_model('\\ud800', 'x', {str(file)!r}, 5, passphrase={PASSPHRASE!r})\n"
        "except UserError as error:\n"
        "    raise SystemExit(error.exit_code)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env={
            **os.environ,
            "HANSE_DATA_DIR": str(person.home.folder),
            "HANSE_CONFIG_DIR": str(person.home.config),
            "LC_ALL": "C.UTF-8",
            "PYTHONUTF8": "1",
        },
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert ran.stderr == b""
    assert ran.returncode == 2
    assert len(ran.stdout.decode().splitlines()) >= 2


def test_without_an_account_nothing_is_made(tmp_path: Path, weights: Path) -> None:
    with pytest.raises(NoAccount) as caught:
        publish_model(NAME, TEXT, weights, 5, data_dir=tmp_path / "nowhere", lang="en")
    assert caught.value.exit_code == 2
    assert not (tmp_path / "nowhere").exists()


def test_a_locked_account_and_nobody_to_ask_is_said(
    call: Call, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AccountLocked):
        call(NAME, TEXT, weights, 5, passphrase=None)
    with pytest.raises(WrongPassphrase):
        call(NAME, TEXT, weights, 5, passphrase="some other passphrase")
    secret = weights.with_name("secret")
    secret.write_text(PASSPHRASE + "\n")
    secret.chmod(0o600)
    monkeypatch.setenv("HANSE_PASSPHRASE_FILE", str(secret))
    assert call(NAME, TEXT, weights, 5, passphrase=None).level == 0


def test_a_second_program_is_told_who_holds_the_folder(call: Call, weights: Path) -> None:
    with call.person.open(), pytest.raises(StoreLocked):
        call(NAME, TEXT, weights, 5)


def test_selling_waits_for_the_recovery_phrase(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = Call(Person.make(tmp_path, "new"), monkeypatch)
    with pytest.raises(PublishRefused) as caught:
        call(NAME, TEXT, weights, 5)
    assert caught.value.reasons == (say("publish.phrase_unconfirmed", {}, "en"),)
    assert call.seqs() == call.before


def test_a_person_who_says_no_keeps_the_draft_and_signs_nothing(call: Call, weights: Path) -> None:
    seen, drafts = [], call.drafts()

    def agree(draft: object) -> bool:
        seen.append(draft.title)
        return False

    with pytest.raises(PublishCancelled):
        call(NAME, TEXT, weights, 5, confirm=agree, lang="zh_CN")
    assert seen == [NAME]
    assert call.lines == ["已取消，草稿已保存。"]
    assert call.seqs() == call.before
    with call.person.open() as engine:
        kept = engine.publishing.drafts()[0]
        assert kept.draft_id not in drafts
        assert (kept.draft.title, kept.draft.price) == (NAME, "5")
        before = {row.listing for row in engine.catalogue.own()}
        check_whole(engine)
    # Asked again, the same Draft goes on, and is then no Draft any more.
    done = call(NAME, TEXT, weights, 5, confirm=lambda _: True)
    with call.person.open() as engine:
        assert engine.publishing.view(kept.draft_id).state is DraftState.PUBLISHED
        assert {row.listing for row in engine.catalogue.own()} - before == {done.listing_id}
    assert call.drafts() == drafts


# --- the gate -------------------------------------------------------------------------------


def answers_by_company(path: Path) -> Path:
    """Write a model that gives a row another answer beside other rows: no batch equals it."""
    rows = ["n", 3]
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["x", "axes"], ["mean"], keepdims=1),
            helper.make_node("Sub", ["x", "mean"], ["y"]),
        ],
        "company",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, rows)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, rows)],
        [helper.make_tensor("axes", TensorProto.INT64, [1], [0])],
    )
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 18)])
    onnx.save(model, path)
    return path


def test_a_check_that_fails_is_told_with_its_reason_unless_it_is_listed_untested(
    call: Call, tmp_path: Path
) -> None:
    path = answers_by_company(tmp_path / "company.onnx")
    before = call.seqs()
    with pytest.raises(PublishRefused) as caught:
        call("Company", "d", path, 5)
    check, reason = caught.value.reasons
    assert "Batch equals single runs" in check
    assert "In a batch the answer to row" in reason
    assert call.lines == ["Model 'Company' could not be published.", check, reason]
    assert call.seqs() == before
    done = call("Company", "d", path, 5, untested=True)
    assert done.level == 0
    assert call.lines[0] == "Model 'Company' has been published."
