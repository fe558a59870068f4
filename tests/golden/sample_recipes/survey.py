"""Customer satisfaction from short answers, Chinese and English, in one model without a tokeniser.

The input is the answer's Unicode code points, lower case, the first 96, filled up with 0: any
program makes them in one line.  The graph counts the runs of one, two and three characters it
knows (operator ``TfIdfVectorizer``) and is linear from there, so it needs no word boundaries,
which Chinese does not write.  Answers are synthetic: put together from parts, with mixed
feelings, mistyped letters, and people who tick another box than their words say.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from tests.golden.sample_recipes.conversion import IR_VERSION, OPSET, stamped
from tests.golden.sample_recipes.kinds import Feature, Port, Recipe
from tests.golden.sample_recipes.measures import accuracy, macro_f1, resampled

SURVEY_SEED = 20_403
LENGTH, LONGEST, KNOWN = 96, 3, 2400
LAST_CODE_POINT = 0x10FFFF

SUBJECTS = {
    "en": (
        "the delivery", "the staff", "customer service", "the app", "the price", "the quality",
        "my order", "the packaging", "the refund", "the website", "the checkout", "the size",
    ),
    "zh": (
        "送货", "店员", "客服", "这个应用", "价格", "质量",
        "我的订单", "包装", "退款", "网站", "结账", "尺码",
    ),
}  # fmt: skip
OPINIONS = {
    "en": {
        2: (
            "was excellent", "was really fast", "made me happy", "was better than expected",
            "was very friendly", "is perfect", "was great value", "worked without a problem",
            "impressed me", "was easy to use", "is reliable", "could not be better",
        ),
        1: (
            "was okay", "was average", "is acceptable", "was as usual", "is neither good nor bad",
            "was what I expected", "is fine I guess", "could be a bit better", "was so so",
            "is nothing special",
        ),
        0: (
            "was terrible", "was far too slow", "disappointed me", "was broken",
            "was rude", "never arrived", "is a waste of money", "did not work at all",
            "was not good", "was worse than before", "is too expensive", "made me angry",
        ),
    },
    "zh": {
        2: (
            "非常好", "特别快", "让我很开心", "比预期好", "很热情", "很完美",
            "性价比很高", "一点问题都没有", "印象很深", "很方便", "很可靠", "没得挑剔",
        ),
        1: (
            "还行", "一般", "可以接受", "跟平时差不多", "不好也不坏",
            "和预期一样", "凑合", "还能再改进一点", "马马虎虎", "没什么特别",
        ),
        0: (
            "太差了", "慢得离谱", "让我失望", "坏了", "态度很差", "一直没到",
            "浪费钱", "完全不能用", "不好", "比以前更差", "太贵了", "让人生气",
        ),
    },
}  # fmt: skip
ENDS = {
    "en": {
        2: ("thank you", "will buy again", "five stars"),
        1: ("we will see", "no more to say"),
        0: ("never again", "i want my money back", "fix this"),
    },
    "zh": {
        2: ("谢谢", "还会再来", "五星好评"),
        1: ("再看看吧", "没别的了"),
        0: ("再也不来了", "要求退款", "请尽快解决"),
    },
}


def answer(chance: np.random.Generator, lang: str) -> tuple[str, int]:
    """Make one answer and the box ticked: 0 unhappy, 1 neither, 2 happy."""
    feeling = int(chance.choice(3, p=[0.34, 0.26, 0.40]))

    def opinion(about: int) -> str:
        subject = chance.choice(SUBJECTS[lang])
        said = chance.choice(OPINIONS[lang][about])
        return f"{subject} {said}" if lang == "en" else f"{subject}{said}"

    parts = [opinion(feeling)]
    if chance.random() < 0.45:  # a second thing, often not the same
        other = feeling if chance.random() < 0.55 else int(chance.integers(0, 3))
        but = (
            {"en": ", but ", "zh": "，但是"}
            if other != feeling
            else {"en": " and ", "zh": "，而且"}
        )
        parts = [parts[0] + but[lang] + opinion(other)]
    if chance.random() < 0.3:
        parts.append(str(chance.choice(ENDS[lang][feeling])))
    text = (". " if lang == "en" else "。").join(parts)
    if lang == "en" and chance.random() < 0.25:  # two letters change places
        at = int(chance.integers(1, len(text) - 2))
        text = text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    if chance.random() < 0.06:
        feeling = int(chance.integers(0, 3))
    return text[:1].upper() + text[1:], feeling


def code_points(texts: list[str]) -> np.ndarray:
    """Turn texts into the model's input: int64 [n, 96]."""
    rows = np.zeros((len(texts), LENGTH), dtype=np.int64)
    for row, text in zip(rows, texts, strict=True):
        points = [ord(one) for one in text.lower()[:LENGTH]]
        row[: len(points)] = points
    return rows


def text_of(row: np.ndarray) -> str:
    return "".join(chr(point) for point in row if point)


def customer_satisfaction() -> Recipe:
    chance = np.random.default_rng(SURVEY_SEED)
    langs = np.where(np.arange(6000) % 2 == 0, "en", "zh")
    made = [answer(chance, lang) for lang in langs]
    texts = [text for text, _ in made]
    y = np.array([feeling for _, feeling in made], dtype=np.int64)
    x = code_points(texts)
    train, test = slice(0, 4000), slice(4000, None)
    counts = CountVectorizer(
        analyzer="char", ngram_range=(1, LONGEST), lowercase=False, max_features=KNOWN
    )
    fitted = LogisticRegression(C=0.08, max_iter=3000).fit(
        counts.fit_transform([text_of(row) for row in x[train]]), y[train]
    )

    def predict(rows: np.ndarray) -> dict[str, np.ndarray]:
        scores = fitted.predict_proba(counts.transform([text_of(row) for row in rows]))
        return {
            "label": scores.argmax(axis=1).astype(np.int64),
            "probabilities": scores.astype(np.float32),
        }

    def measure(out, truth, columns):
        labels, truth = out["label"], truth[:, 0]
        found = [
            accuracy(labels, truth),
            resampled("macro_f1", macro_f1, labels, truth, seed=SURVEY_SEED),
        ]
        for lang in ("en", "zh"):
            own = columns["language"] == lang
            found.append(accuracy(labels[own], truth[own], at=f"language={lang}"))
        return found

    return Recipe(
        id="customer-satisfaction",
        seed=SURVEY_SEED,
        input=Port(
            "code_points",
            "Unicode code points of the answer in lower case, 0 after its end",
            "答复的 Unicode 码位（小写），结束后为 0",
        ),
        features=tuple(
            Feature(
                f"c{at:02}",
                f"code point of character {at}, 0 after the end",
                f"第 {at} 个字符的码位，结束后为 0",
                "",
                0,
                LAST_CODE_POINT,
            )
            for at in range(LENGTH)
        ),
        outputs=(
            Port("label", "0 unhappy, 1 neither, 2 happy", "0 不满意，1 一般，2 满意"),
            Port("probabilities", "probability of each", "三类各自的概率"),
        ),
        labels=(("unhappy", "不满意"), ("neither", "一般"), ("happy", "满意")),
        target=("satisfaction",),
        model=survey_graph(counts.vocabulary_, fitted),
        predict=predict,
        x_test=x[test],
        y_test=y[test][:, None],
        measure=measure,
        train_rows=4000,
        columns={"language": langs[test], "text": np.array(texts[4000:])},
    )


def survey_graph(vocabulary: dict[str, int], fitted: LogisticRegression) -> onnx.ModelProto:
    """Build count, weigh, softmax; the pool lists single characters, then pairs, then threes."""
    pool, starts, places = [], [], []
    for length in range(1, LONGEST + 1):
        starts.append(len(pool))
        for run in sorted(run for run in vocabulary if len(run) == length):
            pool += [ord(one) for one in run]
            places.append(int(vocabulary[run]))
    tensors = {
        "weights": np.ascontiguousarray(fitted.coef_.T.astype(np.float32)),
        "bias": fitted.intercept_.astype(np.float32)[None, :],
    }
    nodes = [
        helper.make_node(
            "TfIdfVectorizer", ["code_points"], ["counts"], mode="TF",
            min_gram_length=1, max_gram_length=LONGEST, max_skip_count=0,
            ngram_counts=starts, ngram_indexes=places, pool_int64s=pool,
        ),
        helper.make_node("MatMul", ["counts", "weights"], ["weighed"]),
        helper.make_node("Add", ["weighed", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "customer_satisfaction",
        [helper.make_tensor_value_info("code_points", TensorProto.INT64, [None, LENGTH])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 3]),
        ],
        [numpy_helper.from_array(values, name) for name, values in tensors.items()],
    )
    opset = [helper.make_opsetid("", OPSET)]
    return stamped(
        helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION),
        "customer_satisfaction",
    )
