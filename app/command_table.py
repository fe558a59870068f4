"""The one table of terminal commands: what they are called, what they take, who does them.

* It imports nothing of the engine: help, completion and the documents are made
  from it, and the module of a command is loaded when the command is run.
* Help is said by the catalogue: ``help.`` and the words of the command; a
  parameter names its own code.
* A parameter arrives at the command under its long name with underscores.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


@unique
class Kind(Enum):
    """What a parameter is read as."""

    TEXT = "text"
    FLAG = "flag"
    NUMBER = "number"
    FILE = "file"
    FOLDER = "folder"
    CHOICE = "choice"
    LANGUAGE = "language"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One option or, without dashes, one argument.

    ``metavar`` is a code of the catalogue; ``passed_as`` the name the command knows it by.
    """

    name: str
    kind: Kind
    help: str
    metavar: str = ""
    choices: tuple[str, ...] = ()
    default: str | int | None = None
    is_many: bool = False
    is_required: bool = False
    passed_as: str = ""

    @property
    def is_option(self) -> bool:
        """True when it is named on the command line."""
        return self.name.startswith("--")

    @property
    def argument_name(self) -> str:
        """The name under which the command takes it."""
        return self.passed_as or self.name.removeprefix("--").replace("-", "_")


@dataclass(frozen=True, slots=True)
class Command:
    """One command: ``act`` is MODULE:FUNCTION below ``hanse.app.commands``.

    A command is done by the process that holds the data folder, where one does.  ``is_local``
    keeps it in the process of the terminal: it needs no open Account, or makes one, or is that
    holder itself.  ``local_with`` names a flag that does the same, for what lives on the pipe.
    """

    words: tuple[str, ...]
    act: str
    parameters: tuple[Parameter, ...] = ()
    is_local: bool = False
    local_with: str = ""

    def stays_here(self, values: Mapping[str, object]) -> bool:
        """Say whether this call is done in the process of the terminal."""
        return self.is_local or (self.local_with != "" and values.get(self.local_with) is True)

    @property
    def help(self) -> str:
        """The code of its help."""
        return "help." + ".".join(self.words)


REVOKE_REASONS: Final = (
    "wrong-file",
    "machine-fault",
    "suite-fault",
    "mistake",
    "key-compromise",
)
VERDICTS: Final = ("approve", "object", "abstain")
CONFLICTS: Final = ("none", "customer", "colleague", "paid", "other")
REASONS: Final = ("lost", "stolen", "sold", "other")
SHELLS: Final = ("bash", "zsh", "fish")
SORTS: Final = (
    "relevance",
    "newest",
    "price-up",
    "price-down",
    "size-up",
    "size-down",
    "level",
    "rating",
)
WAYS: Final = ("open", "sealed", "answers")
PARTIES: Final = ("buyer", "seller")
QUESTIONS_AT_ONCE: Final = 25  # what is asked beyond the decision is wasted
SWITCH: Final = ("on", "off")
VOCABULARIES: Final = ("sectors", "tasks", "licences", "currencies", "formats")

GLOBAL_OPTIONS: Final = (
    Parameter("--json", Kind.FLAG, "option.json"),
    Parameter("--data-dir", Kind.FOLDER, "option.data_dir", "metavar.folder"),
    Parameter("--lang", Kind.LANGUAGE, "option.lang", "metavar.lang"),
    Parameter("--offline", Kind.FLAG, "option.offline"),
    Parameter("--passphrase-file", Kind.FILE, "option.passphrase_file", "metavar.file"),
    Parameter("--yes", Kind.FLAG, "option.yes"),
    Parameter("--verbose", Kind.FLAG, "option.verbose"),
)

_FULL = Parameter("--full", Kind.FLAG, "option.full")
_NAME = Parameter("--name", Kind.TEXT, "option.name", "metavar.name")
_DEVICE_NAME = Parameter("--device-name", Kind.TEXT, "option.device_name", "metavar.name")
_WORDS = Parameter("--words", Kind.LANGUAGE, "option.words", "metavar.lang")
_PHRASE_FILE = Parameter("--phrase-file", Kind.FILE, "option.phrase_file", "metavar.file")
_NEW_PASSPHRASE_FILE = Parameter(
    "--new-passphrase-file", Kind.FILE, "option.new_passphrase_file", "metavar.file"
)
_WITHOUT_PEER = Parameter("--without-peer", Kind.FLAG, "option.without_peer")
_FILE_OUT = Parameter(
    "file", Kind.FILE, "argument.file_out", "metavar.file", is_required=True, passed_as="path"
)
_FILE_IN = Parameter(
    "file", Kind.FILE, "argument.file_in", "metavar.file", is_required=True, passed_as="path"
)
_ENTRY = Parameter("entry", Kind.TEXT, "argument.entry", "metavar.entry", is_required=True)
_BACKUP = Parameter(
    "file", Kind.FILE, "argument.backup", "metavar.file", is_required=True, passed_as="path"
)

_LISTING = Parameter("listing", Kind.TEXT, "argument.listing", "metavar.listing", is_required=True)
_DRAFT = Parameter("draft", Kind.TEXT, "argument.draft", "metavar.draft", is_required=True)
_LISTING_WORDS = (
    Parameter("--name", Kind.TEXT, "option.listing_name", "metavar.name"),
    Parameter("--description", Kind.TEXT, "option.description", "metavar.text"),
    Parameter("--text-file", Kind.FILE, "option.text_file", "metavar.file"),
    Parameter("--price", Kind.TEXT, "option.price", "metavar.amount"),
    Parameter("--price-term", Kind.TEXT, "option.price_term", "metavar.term", is_many=True),
    Parameter("--currency", Kind.TEXT, "option.currency", "metavar.currency"),
    Parameter("--sector", Kind.TEXT, "option.listing_sector", "metavar.sector", is_many=True),
    Parameter("--task", Kind.TEXT, "option.task", "metavar.task"),
    Parameter("--tag", Kind.TEXT, "option.tag", "metavar.text", is_many=True),
    Parameter("--language", Kind.TEXT, "option.listing_language", "metavar.lang"),
    Parameter("--valid-until", Kind.TEXT, "option.valid_until", "metavar.date"),
    Parameter("--capacity", Kind.NUMBER, "option.capacity", "metavar.number"),
)
_RELEASE_WORDS = (
    Parameter("--release-version", Kind.TEXT, "option.release_version", "metavar.version"),
    Parameter("--notes", Kind.TEXT, "option.notes", "metavar.text"),
    Parameter("--licence", Kind.TEXT, "option.licence", "metavar.licence"),
    Parameter("--licence-file", Kind.FILE, "option.licence_file", "metavar.file"),
    Parameter("--right", Kind.TEXT, "option.right", "metavar.right", is_many=True),
    Parameter("--spdx", Kind.TEXT, "option.spdx", "metavar.spdx"),
    Parameter("--tier", Kind.TEXT, "option.tier", "metavar.tier", is_many=True),
    Parameter("--base", Kind.TEXT, "option.base", "metavar.base", is_many=True),
    Parameter("--original", Kind.FLAG, "option.original"),
    Parameter("--trial", Kind.TEXT, "option.trial", "metavar.trial", is_many=True),
    Parameter("--card", Kind.FILE, "option.card", "metavar.file"),
)
_CERTIFICATE = Parameter(
    "certificate", Kind.TEXT, "argument.certificate", "metavar.certificate", is_required=True
)
_JOB = Parameter("job", Kind.NUMBER, "argument.job", "metavar.number", is_required=True)
_CORES = Parameter("--cores", Kind.NUMBER, "option.cores", "metavar.number")
_RELEASE = Parameter("release", Kind.TEXT, "argument.reviewed", "metavar.release", is_required=True)
_COLUMNS = (
    Parameter("--target", Kind.TEXT, "option.target", "metavar.column", is_many=True),
    Parameter("--slice", Kind.TEXT, "option.slice", "metavar.column", passed_as="slice_column"),
    Parameter("--group", Kind.TEXT, "option.group", "metavar.column"),
    Parameter("--positive", Kind.TEXT, "option.positive", "metavar.label"),
)
_GATE = (
    Parameter("--untested", Kind.FLAG, "option.untested"),
    Parameter("--evaluation", Kind.FILE, "option.evaluation", "metavar.file"),
    *_COLUMNS,
)
_TRIAL = Parameter("trial", Kind.TEXT, "argument.trial", "metavar.trial_id", is_required=True)
_TRIAL_FILE = Parameter(
    "file", Kind.FILE, "argument.trial_file", "metavar.file", is_required=True, passed_as="path"
)
_TRIAL_OUT = Parameter("--out", Kind.FILE, "option.trial_out", "metavar.file")
_MAPPED = (
    Parameter("--map", Kind.FILE, "option.map", "metavar.file", passed_as="mapping_file"),
    Parameter(
        "--input", Kind.TEXT, "option.input", "metavar.input", is_many=True, passed_as="inputs"
    ),
    Parameter("--target", Kind.TEXT, "option.target", "metavar.column", is_many=True),
    Parameter("--positive", Kind.TEXT, "option.positive", "metavar.label"),
)
_PEER = Parameter("peer", Kind.TEXT, "argument.peer", "metavar.peer", is_required=True)
_TRANSFER = Parameter(
    "transfer", Kind.TEXT, "argument.transfer", "metavar.transfer", is_required=True
)
_CONVERSION = (
    Parameter("--samples", Kind.FILE, "option.samples", "metavar.file"),
    Parameter("--python", Kind.FILE, "option.python", "metavar.file"),
    Parameter("--trust", Kind.TEXT, "option.trust", "metavar.type", is_many=True),
    Parameter("--as-is", Kind.FLAG, "option.as_is"),
    Parameter("--draft-only", Kind.FLAG, "option.draft_only"),
)

COMMANDS: Final = (
    Command(
        ("account", "create"),
        "account:create",
        (
            _NAME,
            _DEVICE_NAME,
            _WORDS,
            Parameter("--no-ask", Kind.FLAG, "option.no_ask"),
            _NEW_PASSPHRASE_FILE,
        ),
        is_local=True,
    ),
    Command(
        ("account", "restore"),
        "account:restore",
        (
            Parameter("--from", Kind.FILE, "option.from", "metavar.file", passed_as="source"),
            Parameter("--mirror", Kind.FLAG, "option.mirror"),
            _NAME,
            _DEVICE_NAME,
            _PHRASE_FILE,
            _NEW_PASSPHRASE_FILE,
        ),
        is_local=True,
    ),
    Command(("account", "list"), "account:show_list", (_FULL,), is_local=True),
    Command(
        ("account", "unlock"),
        "account:unlock",
        (Parameter("--remember", Kind.FLAG, "option.remember"),),
    ),
    Command(("account", "lock"), "account:lock"),
    Command(("account", "confirm"), "account:confirm", (_PHRASE_FILE,)),
    Command(
        ("account", "profile"),
        "account:profile",
        (
            Parameter("identity", Kind.TEXT, "argument.identity", "metavar.identity"),
            Parameter("--name", Kind.TEXT, "option.profile_name", "metavar.name"),
            Parameter("--about", Kind.TEXT, "option.about", "metavar.text"),
            Parameter("--web", Kind.TEXT, "option.web", "metavar.url", is_many=True),
            Parameter("--contact", Kind.TEXT, "option.contact", "metavar.text"),
            Parameter("--sector", Kind.TEXT, "option.sector", "metavar.text", is_many=True),
            Parameter("--language", Kind.TEXT, "option.language", "metavar.lang"),
            Parameter("--picture", Kind.FILE, "option.picture", "metavar.file"),
        ),
    ),
    Command(("account", "devices"), "account:devices", (_FULL,)),
    Command(
        ("account", "revoke"),
        "account:revoke",
        (
            Parameter("device", Kind.TEXT, "argument.device", "metavar.device", is_required=True),
            Parameter(
                "--reason",
                Kind.CHOICE,
                "option.revoke_reason",
                choices=REASONS,
                default="lost",
            ),
            Parameter("--last-seq", Kind.NUMBER, "option.last_seq", "metavar.number"),
            _PHRASE_FILE,
            _WITHOUT_PEER,
        ),
    ),
    Command(
        ("account", "rotate"),
        "account:rotate",
        (
            Parameter("--new-words", Kind.FLAG, "option.new_words"),
            _WORDS,
            _PHRASE_FILE,
            _WITHOUT_PEER,
        ),
    ),
    Command(("account", "passphrase"), "account:passphrase", (_NEW_PASSPHRASE_FILE,)),
    Command(
        ("ledger", "show"),
        "ledger:show",
        (
            Parameter("--tail", Kind.NUMBER, "option.tail", "metavar.number", default=20),
            Parameter("--author", Kind.TEXT, "option.author", "metavar.device"),
            Parameter("--kind", Kind.TEXT, "option.kind", "metavar.kind"),
            _FULL,
        ),
    ),
    Command(("ledger", "feeds"), "ledger:feeds", (_FULL,)),
    Command(("ledger", "verify"), "ledger:verify"),
    Command(("ledger", "rebuild"), "ledger:rebuild"),
    Command(
        ("ledger", "export"),
        "ledger:export",
        (
            _FILE_OUT,
            Parameter(
                "--author", Kind.TEXT, "option.export_author", "metavar.device", is_many=True
            ),
            Parameter("--everything", Kind.FLAG, "option.everything"),
        ),
    ),
    Command(("ledger", "import"), "ledger:import_file", (_FILE_IN,)),
    Command(
        ("ledger", "disclose"),
        "ledger:disclose",
        (
            _ENTRY,
            Parameter("file", Kind.FILE, "argument.disclosure", "metavar.file", passed_as="path"),
            Parameter("--public", Kind.FLAG, "option.public"),
        ),
    ),
    Command(
        ("ledger", "erase"),
        "ledger:erase",
        (
            Parameter(
                "entry",
                Kind.TEXT,
                "argument.entries",
                "metavar.entry",
                is_many=True,
                is_required=True,
            ),
            Parameter(
                "--reason", Kind.TEXT, "option.erase_reason", "metavar.text", is_required=True
            ),
        ),
    ),
    Command(("ledger", "proof"), "ledger:proof", (_ENTRY, _FILE_OUT)),
    Command(
        ("listing", "publish"),
        "listing:publish",
        (
            Parameter("path", Kind.FILE, "argument.model", "metavar.path", is_required=True),
            *_LISTING_WORDS,
            *_RELEASE_WORDS,
            Parameter("--listing", Kind.TEXT, "option.listing", "metavar.listing"),
            *_GATE,
            *_CONVERSION,
        ),
    ),
    Command(("listing", "drafts"), "listing:drafts"),
    Command(
        ("listing", "draft"),
        "listing:draft",
        (_DRAFT, Parameter("--drop", Kind.FLAG, "option.drop")),
    ),
    Command(
        ("listing", "resume"),
        "listing:resume",
        (_DRAFT, *_LISTING_WORDS, *_RELEASE_WORDS, *_GATE, *_CONVERSION),
    ),
    Command(("listing", "amend"), "listing_after:amend", (_LISTING, *_LISTING_WORDS)),
    Command(("listing", "pause"), "listing_after:pause", (_LISTING,)),
    Command(("listing", "open"), "listing_after:reopen", (_LISTING,)),
    Command(("listing", "withdraw"), "listing_after:withdraw", (_LISTING,)),
    Command(
        ("listing", "retire"),
        "listing_after:retire",
        (_LISTING, Parameter("--successor", Kind.TEXT, "option.successor", "metavar.listing")),
    ),
    Command(
        ("listing", "renew"),
        "listing_after:renew",
        (
            Parameter(
                "listing",
                Kind.TEXT,
                "argument.listings",
                "metavar.listing",
                is_many=True,
                is_required=True,
            ),
            Parameter("--until", Kind.TEXT, "option.until", "metavar.date", is_required=True),
        ),
    ),
    Command(
        ("listing", "search"),
        "listing_search:search",
        (
            Parameter("words", Kind.TEXT, "argument.words", "metavar.words", is_many=True),
            Parameter("--sector", Kind.TEXT, "option.find_sector", "metavar.sector", is_many=True),
            Parameter("--task", Kind.TEXT, "option.find_task", "metavar.task", is_many=True),
            Parameter("--format", Kind.TEXT, "option.find_format", "metavar.format", is_many=True),
            Parameter(
                "--framework",
                Kind.TEXT,
                "option.find_framework",
                "metavar.framework",
                is_many=True,
            ),
            Parameter(
                "--licence", Kind.TEXT, "option.find_licence", "metavar.licence", is_many=True
            ),
            Parameter("--right", Kind.TEXT, "option.find_right", "metavar.word", is_many=True),
            Parameter("--trial", Kind.TEXT, "option.find_trial", "metavar.word", is_many=True),
            Parameter(
                "--language", Kind.TEXT, "option.find_language", "metavar.lang", is_many=True
            ),
            Parameter("--price-from", Kind.TEXT, "option.price_from", "metavar.amount"),
            Parameter("--price-to", Kind.TEXT, "option.price_to", "metavar.amount"),
            Parameter("--currency", Kind.TEXT, "option.find_currency", "metavar.currency"),
            Parameter("--size-to", Kind.TEXT, "option.size_to", "metavar.size"),
            Parameter("--level", Kind.NUMBER, "option.find_level", "metavar.number"),
            Parameter("--contradicted", Kind.FLAG, "option.contradicted"),
            Parameter("--not-contradicted", Kind.FLAG, "option.not_contradicted"),
            Parameter("--seller", Kind.TEXT, "option.seller", "metavar.identity"),
            Parameter("--followed", Kind.FLAG, "option.followed"),
            Parameter("--sort", Kind.CHOICE, "option.sort", choices=SORTS, default="relevance"),
            Parameter("--limit", Kind.NUMBER, "option.limit", "metavar.number", default=20),
            Parameter("--after", Kind.TEXT, "option.after", "metavar.place"),
            Parameter("--facets", Kind.FLAG, "option.facets"),
            Parameter("--paused", Kind.FLAG, "option.paused"),
            Parameter("--expired", Kind.FLAG, "option.expired"),
            Parameter("--save", Kind.TEXT, "option.save", "metavar.name"),
        ),
    ),
    Command(
        ("listing", "searches"),
        "listing_search:searches",
        (Parameter("--forget", Kind.TEXT, "option.forget", "metavar.name"),),
    ),
    Command(
        ("listing", "look"),
        "listing_search:look",
        (Parameter("name", Kind.TEXT, "argument.search", "metavar.name", is_required=True),),
    ),
    Command(("listing", "show"), "listing_show:show", (_LISTING,)),
    Command(
        ("listing", "price"),
        "listing_show:price",
        (_LISTING, Parameter("--explain", Kind.FLAG, "option.explain")),
    ),
    Command(
        ("listing", "export"),
        "listing_carry:export",
        (
            _LISTING,
            Parameter("--with-bytes", Kind.FILE, "option.with_bytes", "metavar.file"),
            Parameter("--without-files", Kind.FLAG, "option.without_files"),
            Parameter("--bom", Kind.FILE, "option.bom", "metavar.file"),
            Parameter("--card", Kind.FILE, "option.card_out", "metavar.file"),
        ),
    ),
    Command(("listing", "import"), "listing_carry:import_file", (_FILE_IN,)),
    Command(
        ("listing", "fetch"),
        "listing_fetch:fetch",
        (
            Parameter(
                "release", Kind.TEXT, "argument.fetched", "metavar.release", is_required=True
            ),
            Parameter("--wait", Kind.FLAG, "option.wait"),
            Parameter("--priority", Kind.NUMBER, "option.priority", "metavar.number"),
        ),
    ),
    Command(("listing", "mine"), "listing_show:mine"),
    Command(
        ("listing", "vocabulary"),
        "listing_show:vocabulary",
        (
            Parameter(
                "which",
                Kind.CHOICE,
                "argument.vocabulary",
                "metavar.word",
                choices=VOCABULARIES,
            ),
        ),
    ),
    Command(
        ("certify",),
        "certify:certify",
        (
            Parameter("artifact", Kind.TEXT, "argument.certified", "metavar.artifact"),
            Parameter("--suite", Kind.TEXT, "option.suite", "metavar.suite"),
            Parameter("--data", Kind.FILE, "option.data", "metavar.path"),
            Parameter("--map", Kind.FILE, "option.map", "metavar.file", passed_as="mapping_file"),
            *_COLUMNS,
            Parameter(
                "--input",
                Kind.TEXT,
                "option.input",
                "metavar.input",
                is_many=True,
                passed_as="inputs",
            ),
            Parameter("--metric", Kind.TEXT, "option.metric", "metavar.metric", is_many=True),
            Parameter("--publish-data-figures", Kind.FLAG, "option.publish_data_figures"),
            Parameter("--reproduce", Kind.TEXT, "option.reproduce", "metavar.certificate"),
            _CORES,
            Parameter("--background", Kind.FLAG, "option.background"),
            Parameter("--no-sign", Kind.FLAG, "option.no_sign"),
            Parameter("--out", Kind.FILE, "option.cert_out", "metavar.file"),
            Parameter("--revoke", Kind.TEXT, "option.revoke_cert", "metavar.certificate"),
            Parameter("--reason", Kind.CHOICE, "option.revoke_cert_reason", choices=REVOKE_REASONS),
            Parameter("--text", Kind.TEXT, "option.revoke_cert_text", "metavar.text"),
        ),
    ),
    Command(
        ("certificate", "list"),
        "certificate:show_list",
        (
            Parameter(
                "artifact",
                Kind.TEXT,
                "argument.certificates_of",
                "metavar.artifact",
                is_required=True,
            ),
        ),
    ),
    Command(("certificate", "show"), "certificate:show", (_CERTIFICATE,)),
    Command(("certificate", "export"), "certificate:export", (_CERTIFICATE, _FILE_OUT)),
    Command(
        ("job", "list"),
        "job:show_list",
        (Parameter("--before", Kind.NUMBER, "option.before_job", "metavar.number"),),
    ),
    Command(
        ("job", "show"),
        "job:show",
        (_JOB, Parameter("--sign", Kind.FLAG, "option.sign_job")),
    ),
    Command(
        ("job", "run"),
        "job:run",
        (_CORES, Parameter("--sign", Kind.FLAG, "option.sign_jobs")),
    ),
    Command(("job", "pause"), "job:pause", (_JOB,)),
    Command(("job", "resume"), "job:resume", (_JOB,)),
    Command(("job", "cancel"), "job:cancel", (_JOB,)),
    Command(
        ("review", "human"),
        "review:human",
        (
            _RELEASE,
            Parameter("--point", Kind.TEXT, "option.point", "metavar.point", is_many=True),
            Parameter("--verdict", Kind.CHOICE, "option.verdict", choices=VERDICTS),
            Parameter("--notes", Kind.TEXT, "option.review_notes", "metavar.text"),
            Parameter("--conflict", Kind.CHOICE, "option.conflict", choices=CONFLICTS),
            Parameter("--paid-by", Kind.TEXT, "option.paid_by", "metavar.name"),
            Parameter("--tried", Kind.TEXT, "option.tried", "metavar.certificate", is_many=True),
        ),
    ),
    Command(
        ("review", "list"),
        "review:show_list",
        (
            _RELEASE,
            Parameter("--wanted", Kind.NUMBER, "option.wanted", "metavar.number", default=1),
        ),
    ),
    Command(
        ("run",),
        "run:run",
        (
            Parameter("model", Kind.TEXT, "argument.run_model", "metavar.artifact"),
            Parameter("--trial", Kind.TEXT, "option.run_trial", "metavar.trial_id"),
            Parameter("--input", Kind.FILE, "option.run_input", "metavar.path", passed_as="path"),
            Parameter("--output", Kind.FILE, "option.run_output", "metavar.file"),
            Parameter("--force", Kind.FLAG, "option.force"),
            Parameter("--stdin", Kind.FLAG, "option.stdin"),
            Parameter("--stateful", Kind.FLAG, "option.stateful"),
            Parameter("--map", Kind.FILE, "option.map", "metavar.file", passed_as="mapping_file"),
            Parameter("--input-columns", Kind.TEXT, "option.input", "metavar.input", is_many=True),
            Parameter("--raw", Kind.FLAG, "option.raw"),
            Parameter("--threads", Kind.NUMBER, "option.threads", "metavar.number", default=1),
        ),
        local_with="stdin",
    ),
    Command(
        ("trial", "start"),
        "trial:start",
        (
            Parameter("release", Kind.TEXT, "argument.tried", "metavar.release", is_required=True),
            Parameter("--way", Kind.CHOICE, "option.way", choices=WAYS, default="answers"),
            Parameter("--data", Kind.FILE, "option.trial_data", "metavar.path"),
            *_MAPPED,
            Parameter("--claim", Kind.TEXT, "option.claim", "metavar.share"),
            Parameter("--margin", Kind.TEXT, "option.margin", "metavar.share"),
            Parameter("--files", Kind.FILE, "option.edition_files", "metavar.path"),
            Parameter("--network", Kind.FLAG, "option.trial_network"),
            _TRIAL_OUT,
        ),
    ),
    Command(("trial", "carry"), "trial_network:carry", (_TRIAL,)),
    Command(("trial", "answer"), "trial:answer", (_TRIAL_FILE, _TRIAL_OUT)),
    Command(("trial", "take"), "trial:take", (_TRIAL_FILE, _TRIAL_OUT)),
    Command(
        ("trial", "ask"),
        "trial:ask",
        (
            _TRIAL,
            _TRIAL_OUT,
            Parameter(
                "--most", Kind.NUMBER, "option.most", "metavar.number", default=QUESTIONS_AT_ONCE
            ),
        ),
    ),
    Command(
        ("trial", "run"),
        "trial:run",
        (
            _TRIAL,
            Parameter("--data", Kind.FILE, "option.trial_data", "metavar.path", is_required=True),
            *_MAPPED,
            Parameter("--metric", Kind.TEXT, "option.metric", "metavar.metric", is_many=True),
        ),
    ),
    Command(("trial", "show"), "trial:show", (_TRIAL,)),
    Command(
        ("trial", "list"),
        "trial:show_list",
        (
            Parameter("--role", Kind.CHOICE, "option.trial_role", choices=PARTIES),
            Parameter("--limit", Kind.NUMBER, "option.limit", "metavar.number", default=50),
        ),
    ),
    Command(("trial", "close"), "trial:close", (_TRIAL, _TRIAL_OUT)),
    Command(
        ("trial", "replay"),
        "trial_replay:replay",
        (
            _TRIAL,
            Parameter("--key", Kind.FILE, "option.key", "metavar.file", is_required=True),
            Parameter("--delivered", Kind.FILE, "option.delivered", "metavar.path"),
            Parameter("--proof", Kind.FILE, "option.proof_out", "metavar.file"),
        ),
    ),
    Command(
        ("trial", "bakeoff"),
        "trial_bakeoff:bakeoff",
        (
            Parameter(
                "candidate",
                Kind.TEXT,
                "argument.candidate",
                "metavar.candidate",
                is_many=True,
                is_required=True,
            ),
            Parameter("--data", Kind.FILE, "option.bakeoff_data", "metavar.path", is_required=True),
            *_MAPPED,
            Parameter(
                "--metric",
                Kind.TEXT,
                "option.bakeoff_metric",
                "metavar.metric",
                is_required=True,
            ),
            Parameter("--costs", Kind.FILE, "option.costs", "metavar.file"),
            Parameter("--csv", Kind.FILE, "option.csv", "metavar.file"),
        ),
    ),
    Command(
        ("node",),
        "node:node",
        (
            Parameter("--events", Kind.FLAG, "option.events"),
            Parameter("--port", Kind.NUMBER, "option.port", "metavar.number"),
            Parameter("--listen", Kind.TEXT, "option.listen", "metavar.address", is_many=True),
        ),
        is_local=True,
    ),
    Command(
        ("peer", "list"),
        "peer:show_list",
        (Parameter("--connected", Kind.FLAG, "option.connected"), _FULL),
    ),
    Command(("peer", "show"), "peer:show", (_PEER,)),
    Command(
        ("peer", "add"),
        "peer:add",
        (Parameter("peer", Kind.TEXT, "argument.invitation", "metavar.peer", is_required=True),),
    ),
    Command(("peer", "remove"), "peer:remove", (_PEER,)),
    Command(
        ("peer", "invite"),
        "peer:invite",
        (
            Parameter("--qr", Kind.FLAG, "option.qr"),
            Parameter("--file", Kind.FILE, "option.invite_file", "metavar.file"),
            Parameter(
                "--address", Kind.TEXT, "option.invite_address", "metavar.address", is_many=True
            ),
        ),
    ),
    Command(
        ("peer", "sync"),
        "peer:sync",
        (Parameter("peer", Kind.TEXT, "argument.synced", "metavar.peer"),),
    ),
    Command(
        ("peer", "offline"),
        "peer:offline",
        (Parameter("state", Kind.CHOICE, "argument.offline", "metavar.word", choices=SWITCH),),
    ),
    Command(
        ("peer", "seeding"),
        "peer:seeding",
        (Parameter("--followed", Kind.CHOICE, "option.seed_followed", choices=SWITCH),),
    ),
    Command(
        ("peer", "post"),
        "peer:post",
        (
            Parameter("--resend", Kind.NUMBER, "option.resend", "metavar.number"),
            Parameter("--before", Kind.NUMBER, "option.before_message", "metavar.number"),
        ),
    ),
    Command(("peer", "confirm"), "peer:confirm"),
    Command(
        ("peer", "follow"),
        "peer:follow",
        (
            Parameter("identity", Kind.TEXT, "argument.whom", "metavar.identity", is_required=True),
            Parameter("--vouch", Kind.FLAG, "option.vouch"),
            Parameter("--stop", Kind.FLAG, "option.stop"),
        ),
    ),
    Command(("peer", "followed"), "peer:followed"),
    Command(
        ("transfer", "list"),
        "transfer:show_list",
        (Parameter("--all", Kind.FLAG, "option.all_transfers"),),
    ),
    Command(("transfer", "pause"), "transfer:pause", (_TRANSFER,)),
    Command(("transfer", "resume"), "transfer:resume", (_TRANSFER,)),
    Command(("transfer", "cancel"), "transfer:cancel", (_TRANSFER,)),
    Command(
        ("transfer", "priority"),
        "transfer:priority",
        (
            _TRANSFER,
            Parameter(
                "number", Kind.NUMBER, "argument.priority", "metavar.number", is_required=True
            ),
        ),
    ),
    Command(("store", "show"), "store:show"),
    Command(("store", "check"), "store:check"),
    Command(("store", "clean"), "store:clean"),
    Command(
        ("store", "quota"),
        "store:quota",
        (Parameter("size", Kind.TEXT, "argument.quota", "metavar.size"),),
    ),
    Command(
        ("verify",),
        "verify:verify",
        (_FILE_IN, Parameter("--against", Kind.FILE, "option.against", "metavar.path")),
        is_local=True,
    ),
    Command(("backup", "make"), "backup:make", (_FILE_OUT,)),
    Command(
        ("backup", "restore"),
        "backup:restore",
        (_BACKUP, _NAME, _DEVICE_NAME, _PHRASE_FILE, _NEW_PASSPHRASE_FILE),
        is_local=True,
    ),
    Command(("backup", "drill"), "backup:drill", (_BACKUP, _PHRASE_FILE), is_local=True),
    Command(
        ("doctor",),
        "doctor:doctor",
        (Parameter("--bundle", Kind.FILE, "option.bundle", "metavar.file"),),
        is_local=True,
    ),
    Command(
        ("demo",), "demo:demo", (Parameter("--quick", Kind.FLAG, "option.quick"),), is_local=True
    ),
)
