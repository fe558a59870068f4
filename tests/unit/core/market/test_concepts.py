from __future__ import annotations

import re
import tomllib
from importlib.resources import files

import msgspec
import pytest

from hanse.core.market.concepts import concepts, cut, fold, parse_concepts, units_of
from hanse.core.market.search import concept_token
from hanse.core.model.artifact import Format

TABLE = files("hanse.resources").joinpath("concepts.toml").read_text("utf-8")
ROWS = tomllib.loads(TABLE)["concept"]
SPACE = """
[[concept]]
id = "sector.space"
en = ["space flight", "rockets"]
zh = ["航天"]
"""
# What market.md names first, and what the article's sectors are about.
NAMED = """
sector.finance finance 金融 | sector.medical medical 医疗 医学 | sector.retail retail 零售
sector.manufacturing manufacturing 制造 工业 | sector.other other 其他
task.image-classification 图像分类 图像识别 | task.object-detection 目标检测 物体检测
task.image-segmentation 图像分割 | task.image-to-text 图像描述
task.optical-character-recognition 文字识别 | task.automatic-speech-recognition 语音识别
task.voice-activity-detection 语音端点检测 | task.text-to-speech 语音合成
task.text-classification 文本分类 | task.sentiment-analysis 情感分析
task.token-classification 命名实体识别 | task.translation 翻译 机器翻译 | task.summarization 摘要
task.text-generation 文本生成 | task.question-answering 问答 | task.feature-extraction 向量 嵌入
task.tabular-classification 表格分类 | task.tabular-regression 表格回归
task.time-series-forecasting 时间序列预测 | task.anomaly-detection 异常检测
task.recommendation 推荐 recommender | task.ranking 排序
domain.fraud-detection fraud 欺诈检测 反欺诈 | domain.credit-scoring 信用评估 信用评分
domain.risk-assessment 风险评估 风险管理 | domain.anti-money-laundering 反洗钱
domain.portfolio portfolio 投资组合 | domain.investment 投资决策 投资
domain.insurance-claims 赔付率 | domain.transaction-monitoring 实时监测
domain.diagnosis diagnosis 诊断 | domain.treatment-suggestion treatment 治疗建议
domain.medical-imaging 医学影像 | domain.demand-forecast 需求预测 预测模型
domain.inventory 库存管理 库存周转率 | domain.customer-service 客户服务
domain.customer-satisfaction satisfaction 客户满意度 客户满意度分析 | domain.marketing 营销
domain.predictive-maintenance 预测性维护 | domain.equipment-failure 故障率
domain.equipment-use 设备利用率 | domain.production-planning 生产计划
domain.production-optimisation 生产优化 | domain.defect-detection 缺陷检测 瑕疵检测
domain.quality-inspection 质检 | domain.face-detection 人脸检测
domain.malware-detection 恶意软件检测
format.onnx onnx | format.safetensors safetensors | format.tflite tflite | format.gguf gguf
metric.accuracy 准确率 | metric.precision 精确率 | metric.recall 召回率 | metric.f1 F1值
metric.auc auc | metric.map 平均精度 | metric.rmse 均方根误差 | metric.mae 平均绝对误差
metric.wer 词错误率 | metric.latency 延迟
licence.commercial 商用 | licence.internal 内部使用 | licence.research 科研
licence.redistribution 再分发 | licence.fine-tune 微调 | licence.saas 在线服务
licence.seats 席位 | licence.exclusive 独家
other.lightweight 轻量 轻量级 | other.multilingual 多语言 | other.quantised 量化
other.on-device 端侧
"""


def full_width(text):
    return "".join(chr(ord(letter) + 0xFEE0) for letter in text)


@pytest.mark.parametrize("line", [part.strip() for part in re.split(r"[|\n]", NAMED.strip())])
def test_what_the_design_names_is_found_by_each_of_its_words(line):
    concept_id, *words = line.split()
    assert concepts().get(concept_id) is not None
    assert {concepts().find(word) for word in words} == {concept_id}


def test_there_are_about_two_hundred_rows_and_every_group():
    assert 200 <= len(ROWS) <= 300
    assert {row["id"].partition(".")[0] for row in ROWS} == {
        *("sector", "task", "domain", "format", "framework", "metric", "licence", "other"),
    }


def test_no_alias_stands_twice_in_the_whole_table():
    words = [alias for row in ROWS for alias in (*row["en"], *row["zh"])]
    assert len({units_of(word) for word in words}) == len(words)


def test_every_quiet_word_is_one_of_its_row():
    assert all(set(row.get("quiet", ())) <= {*row["en"], *row["zh"]} for row in ROWS)


def test_every_concept_has_a_name_in_both_languages():
    known = concepts()
    for row in ROWS:
        assert known.name(row["id"], "en") == row["en"][0]
        assert known.name(row["id"], "zh_CN") == row["zh"][0]
        assert not re.search("[\u4e00-\u9fff]", row["en"][0])
        assert re.search("[\u4e00-\u9fff]", row["zh"][0])


def test_search_tokens_of_concepts_are_all_different():
    assert len({concept_token(row["id"]) for row in ROWS}) == len(ROWS)


def test_every_format_that_inspection_names_is_a_concept():
    held = set(concepts().values("format"))
    # What may be anything, or nothing we know, is no format to look for.
    assert held == {str(name) for name in Format.__args__} - {"archive", "unknown"}


def test_an_unknown_id_is_shown_as_its_value():
    assert concepts().name("sector.space", "en") == "space"
    assert concepts().get("sector.space") is None


def test_sectors_and_tasks_are_the_values_that_bodies_sign():
    assert concepts().sectors()[:4] == ("finance", "medical", "retail", "manufacturing")
    assert {"image-classification", "tabular-classification", "other"} <= set(concepts().tasks())
    assert concepts().values("nothing") == ()


def test_a_new_row_is_a_new_sector_in_both_languages():
    known = parse_concepts(TABLE + SPACE)
    assert known.sectors() == (*concepts().sectors(), "space")
    assert known.name("sector.space", "zh_CN") == "航天"
    assert known.find("Rocket", "sector") == "sector.space"
    assert known.tokens("用于航天的模型")[0] == "sector.space"
    assert known.nearest("spice flight", "sector") == "space"


@pytest.mark.parametrize(
    ("text", "group", "found"),
    [
        ("Finance", None, "sector.finance"),
        ("finance", "sector", "sector.finance"),
        (full_width("FINANCE"), "sector", "sector.finance"),
        (" 金融 ", "sector", "sector.finance"),
        ("image-classification", "task", "task.image-classification"),
        ("task.image-classification", None, "task.image-classification"),
        ("Image Recognition", "task", "task.image-classification"),
        ("图像识别", "task", "task.image-classification"),
        ("object detectors", None, "task.object-detection"),
        ("map", None, "metric.map"),
        ("other", "sector", "sector.other"),
        ("other", "task", "task.other"),
        ("金融", "task", None),
        ("", None, None),
        ("???", None, None),
        ("no such thing", None, None),
    ],
)
def test_a_text_is_found_whole(text, group, found):
    assert concepts().find(text, group) == found


@pytest.mark.parametrize(
    ("text", "group", "suggested"),
    [
        ("finanse", "sector", "finance"),
        ("manufactoring", "sector", "manufacturing"),
        ("金融行业", "sector", "finance"),
        ("医疗行业", "sector", "medical"),
        ("图像分类器", "task", "image-classification"),
        ("image-clasification", "task", "image-classification"),
        ("qqqqqq", "sector", "other"),
        ("x" * 100_000, "sector", "other"),
        ("0000", "metric", "accuracy"),
        ("anything", "nothing", ""),
    ],
)
def test_the_nearest_value_is_suggested(text, group, suggested):
    assert concepts().nearest(text, group) == suggested


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("缺陷检测", ["domain.defect-detection"]),
        ("用于表面缺陷检测的模型", ["domain.defect-detection", "other.model"]),
        ("surface defect detection", ["domain.defect-detection"]),
        ("Surface-Defect  Detections", ["domain.defect-detection"]),
        ("surface defect. detection", ["domain.defect-detection", "other.detection"]),
        ("缺陷，检测", ["domain.defect-detection", "other.detection"]),
        ("缺 陷检测", ["other.detection"]),
        ("金融风险评估", ["sector.finance", "domain.risk-assessment"]),
        ("the F1值 of classifiers", ["metric.f1", "other.classification"]),
        ("a market for markets", []),
        ("marketing", ["domain.marketing"]),
        ("a map of other things", []),
        ("finances finance", ["sector.finance"]),
        ("", []),
    ],
)
def test_a_text_mentions_the_longest_aliases_in_it(text, found):
    assert list(concepts().tokens(text)) == found


def test_all_mentions_include_those_inside_longer_ones():
    units = units_of("图像识别")
    ids = [mention.concept_id for mention in concepts().mentions(units)]
    assert ids == ["task.image-classification", "other.image", "other.recognition"]


def test_wider_concepts_come_nearest_first():
    assert concepts().broader("domain.defect-detection") == (
        "domain.quality-inspection",
        "sector.manufacturing",
    )
    assert concepts().broader("sector.finance") == ()
    assert concepts().broader("sector.unheard") == ()


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        (SPACE + SPACE, "sector.space stands twice"),
        (SPACE + SPACE.replace("sector.space", "other.space"), "means sector.space and"),
        (SPACE.replace("航天", "？！"), "is no word"),
        (SPACE.replace("航天", "航，天"), "is no word"),
        (SPACE + 'broader = "sector.space"\n', "sector.space is within sector.space"),
        (SPACE + 'broader = "sector.nowhere"\n', "is within sector.nowhere"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(rows, fault):
    with pytest.raises(ValueError, match=fault):
        parse_concepts(rows)


@pytest.mark.parametrize(
    "rows",
    [
        SPACE + 'unknown = "field"\n',
        SPACE.replace("sector.space", "Sector Space"),
        SPACE.replace('["航天"]', "[]"),
        SPACE.replace("航天", "航" * 61),
    ],
)
def test_a_table_of_another_shape_is_refused(rows):
    with pytest.raises(msgspec.ValidationError):
        parse_concepts(rows)


def test_a_text_is_cut_at_punctuation_and_between_writings():
    found = cut(fold("AI模型、F1值 on x-rays"))
    assert found.runs == ("ai", "模型", "f1", "值", "on", "x", "rays")
    assert found.units == (*("ai", "模", "型", "\0", "f1", "值", "\0", "on", "x", "ray"),)
    assert [found.runs[run] for run in found.run_of if run >= 0] == [
        *("ai", "模型", "模型", "f1", "值", "on", "x", "rays"),
    ]


@pytest.mark.parametrize(
    ("plural", "singular"),
    [
        ("batteries", "battery"),
        ("boxes", "box"),
        ("branches", "branch"),
        ("losses", "loss"),
        ("models", "model"),
        ("analysis", "analysis"),
        ("class", "class"),
        ("corpus", "corpus"),
        ("gas", "gas"),
    ],
)
def test_a_regular_plural_is_the_same_word(plural, singular):
    assert units_of(plural) == (singular,)
