"""Forecasts and recommendations for a shop, on synthetic sales and synthetic baskets."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.golden.sample_recipes.conversion import (
    IR_VERSION,
    OPSET,
    from_sklearn,
    regressor_outputs,
    stamped,
)
from tests.golden.sample_recipes.kinds import Feature, Port, Recipe, rounded
from tests.golden.sample_recipes.measures import (
    explained,
    gain_at,
    mean_absolute,
    mean_absolute_percentage,
    pinball,
    resampled,
    share,
)

SALES_SEED, BASKET_SEED = 20_401, 20_402

SALE = (
    Feature("lag_1", "units sold one day ago", "1 天前销量", "unit", 0, 400),
    Feature("lag_2", "units sold two days ago", "2 天前销量", "unit", 0, 400),
    Feature("lag_7", "units sold seven days ago", "7 天前销量", "unit", 0, 400),
    Feature("lag_14", "units sold 14 days ago", "14 天前销量", "unit", 0, 400),
    Feature("lag_28", "units sold 28 days ago", "28 天前销量", "unit", 0, 400),
    Feature("mean_7", "mean of the last seven days", "近 7 天平均销量", "unit", 0, 300, 2),
    Feature("mean_28", "mean of the last 28 days", "近 28 天平均销量", "unit", 0, 300, 2),
    Feature(
        "weekday", "day of the week to forecast, 0 is Monday", "预测日星期，0 为星期一", "", 0, 6
    ),
    Feature(
        "promotion", "promotion on that day (1) or not (0)", "当日有促销为 1，否则为 0", "", 0, 1
    ),
    Feature(
        "price_ratio",
        "price on that day against the usual one",
        "当日价格与平常价格之比",
        "",
        0.5,
        1.5,
        2,
    ),
    Feature("holiday", "public holiday (1) or not (0)", "节假日为 1，否则为 0", "", 0, 1),
    Feature("temperature", "temperature expected", "预报气温", "degC", -15, 42, 1),
)
WEEK = np.array([0.85, 0.82, 0.88, 0.95, 1.15, 1.4, 1.1])
HISTORY, DAYS, TEST_DAYS, SERIES = 28, 500, 100, 24


def sales(chance: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw daily sales of 24 products; return rows, units sold, and the day of each row."""
    day = np.arange(DAYS)
    temperature = 12 - 11 * np.cos(2 * np.pi * (day - 20) / 365) + chance.normal(0, 3, DAYS)
    holiday = chance.random(DAYS) < 0.03
    rows, sold, days = [], [], []
    for _ in range(SERIES):
        level, heat = np.exp(chance.normal(3.3, 0.6)), chance.normal(0, 0.012)
        promotion = chance.random(DAYS) < 0.08
        price = np.where(promotion, chance.uniform(0.7, 0.9, DAYS), 1.0).round(2)
        drift = np.cumsum(chance.normal(0, 0.012, DAYS))
        expected = level * WEEK[day % 7] * np.exp(
            drift + heat * (temperature - 12) + 0.25 * promotion - 1.3 * np.log(price)
        ) * np.where(holiday, 1.5, 1.0)  # fmt: skip
        units = chance.poisson(expected * chance.gamma(30, 1 / 30, DAYS))
        for now in range(HISTORY, DAYS):
            past = units[:now]
            rows.append(
                [
                    *(past[-lag] for lag in (1, 2, 7, 14, 28)),
                    past[-7:].mean(),
                    past[-28:].mean(),
                    now % 7,
                    promotion[now],
                    price[now],
                    holiday[now],
                    temperature[now],
                ]
            )
            sold.append(units[now])
            days.append(now)
    x = rounded(list(np.array(rows, dtype=np.float64).T), SALE)
    return x, np.array(sold, dtype=np.float64), np.array(days)


def forecast(name: str, fitted, seed: int) -> Recipe:
    """Fit on the days before the last hundred; the figures are of the last hundred."""
    chance = np.random.default_rng(SALES_SEED)
    x, y, days = sales(chance)
    late = days >= DAYS - TEST_DAYS
    fitted.fit(x[~late], y[~late])
    mixed = np.random.default_rng(SALES_SEED + 1).permutation(np.count_nonzero(late))
    x_test, y_test = x[late][mixed], y[late][mixed]

    def measure(out, truth, _):
        got, truth = out["variable"][:, 0].astype(np.float64), truth[:, 0].astype(np.float64)
        return [
            resampled("mae", mean_absolute, got, truth, seed=seed),
            resampled("mape", mean_absolute_percentage, got, truth, seed=seed),
            resampled("pinball", pinball, got, truth, seed=seed),
            resampled("r2", explained, got, truth, seed=seed),
        ]

    return Recipe(
        id=name,
        seed=seed,
        input=Port("day", "one product and one day, twelve columns", "一种商品的一天，十二个字段"),
        features=SALE,
        outputs=(Port("variable", "units expected on that day", "当日预计销量", "unit"),),
        labels=(),
        target=("units",),
        model=from_sklearn(fitted, x[~late], name.replace("-", "_")),
        predict=regressor_outputs(fitted),
        x_test=x_test,
        y_test=y_test[:, None].astype(np.int64),
        measure=measure,
        train_rows=int(np.count_nonzero(~late)),
        compared=baseline(x_test, y_test, seed),
    )


def baseline(x: np.ndarray, y: np.ndarray, seed: int):
    """Return what "as much as a week ago" would reach on the same rows."""
    return [resampled("mae", mean_absolute, x[:, 2], y, at="as_a_week_ago", seed=seed)]


def demand_forecast() -> Recipe:
    fitted = GradientBoostingRegressor(
        n_estimators=120, max_depth=4, learning_rate=0.08, subsample=0.7, random_state=SALES_SEED
    )
    return forecast("demand-forecast", fitted, SALES_SEED)


def demand_forecast_linear() -> Recipe:
    return forecast(
        "demand-forecast-linear", make_pipeline(StandardScaler(), Ridge(alpha=10.0)), SALES_SEED
    )


GOODS = (
    ("rice", "大米"), ("flour", "面粉"), ("noodles", "面条"), ("bread", "面包"),
    ("cooking_oil", "食用油"), ("soy_sauce", "酱油"), ("vinegar", "醋"), ("salt", "食盐"),
    ("sugar", "白糖"), ("eggs", "鸡蛋"), ("milk", "牛奶"), ("yoghurt", "酸奶"),
    ("butter", "黄油"), ("cheese", "奶酪"), ("tofu", "豆腐"), ("pork", "猪肉"),
    ("beef", "牛肉"), ("chicken", "鸡肉"), ("fish", "鱼"), ("shrimp", "虾"),
    ("cabbage", "白菜"), ("tomatoes", "西红柿"), ("potatoes", "土豆"), ("onions", "洋葱"),
    ("garlic", "大蒜"), ("ginger", "生姜"), ("apples", "苹果"), ("bananas", "香蕉"),
    ("oranges", "橙子"), ("grapes", "葡萄"), ("tea", "茶叶"), ("coffee", "咖啡"),
    ("juice", "果汁"), ("water", "矿泉水"), ("beer", "啤酒"), ("chocolate", "巧克力"),
    ("biscuits", "饼干"), ("nuts", "坚果"), ("nappies", "纸尿裤"), ("baby_food", "婴儿辅食"),
)  # fmt: skip
TASTES, FACTORS, TOP = 6, 8, 10


def baskets(chance: np.random.Generator, rows: int) -> np.ndarray:
    """Draw what each shopper bought within a month, 1 or 0 for each of forty goods."""
    liking = chance.normal(0, 1.3, (TASTES, len(GOODS)))
    popularity = chance.normal(-1.6, 0.7, len(GOODS))
    taste = chance.dirichlet(np.full(TASTES, 0.35), rows)
    score = popularity + taste @ liking * 1.6 + chance.normal(0, 0.4, (rows, 1))
    return (chance.random(score.shape) < 1 / (1 + np.exp(-score))).astype(np.float32)


def recommender() -> Recipe:
    chance = np.random.default_rng(BASKET_SEED)
    bought = baskets(chance, 9000)
    bought = bought[bought.sum(axis=1) >= 4]
    train, test = bought[:-2000], bought[-2000:].copy()
    hidden = np.array([chance.choice(np.flatnonzero(row)) for row in test])
    test[np.arange(len(test)), hidden] = 0  # one good of each shopper is what must be found
    svd = TruncatedSVD(FACTORS, algorithm="arpack", random_state=BASKET_SEED)
    mean = train.mean(axis=0)
    svd.fit(train - mean)
    items = svd.components_.astype(np.float32)
    items *= np.sign(items[np.arange(FACTORS), np.abs(items).argmax(axis=1)])[:, None]

    def predict(x: np.ndarray) -> dict[str, np.ndarray]:
        shoppers = (x - mean) @ items.T
        scores = shoppers @ items + mean - 1000 * x
        order = np.argsort(-scores, axis=1, kind="stable")[:, :TOP]
        return {
            "items": order.astype(np.int64),
            "scores": np.take_along_axis(scores, order, axis=1).astype(np.float32),
        }

    def measure(out, truth, _):
        gain = gain_at(out["items"], truth[:, 0])
        return [
            resampled("ndcg@10", np.mean, gain, seed=BASKET_SEED),
            share("recall@10", gain > 0),
        ]

    popular = np.argsort(-(mean - 1000 * test), axis=1, kind="stable")[:, :TOP]
    return Recipe(
        id="recommender",
        seed=BASKET_SEED,
        input=Port("basket", "1 or 0 for each of forty goods", "四十种商品是否买过，1 或 0"),
        features=tuple(
            Feature(
                name,
                f"bought {name.replace('_', ' ')} (1) or not (0)",
                f"买过{zh}为 1，否则为 0",
                "",
                0,
                1,
            )
            for name, zh in GOODS
        ),
        outputs=(
            Port(
                "items",
                "the ten goods put first, as numbers from 0 in the order of the inputs",
                "排在前十的商品，按输入列顺序从 0 编号",
            ),
            Port("scores", "their scores, falling", "对应得分，由高到低"),
        ),
        labels=tuple((name.replace("_", " "), zh) for name, zh in GOODS),
        target=("hidden_item",),
        model=recommender_graph(items, mean),
        predict=predict,
        x_test=test,
        y_test=hidden[:, None].astype(np.int64),
        measure=measure,
        train_rows=len(train),
        compared=[
            resampled(
                "ndcg@10",
                np.mean,
                gain_at(popular, hidden),
                at="most_bought",
                seed=BASKET_SEED,
            )
        ],
    )


def recommender_graph(items: np.ndarray, mean: np.ndarray) -> onnx.ModelProto:
    """Fold a shopper into the factors, score all goods, drop the bought ones, take the best."""
    tensors = {
        "item_factors": items,
        "factors_of_items": np.ascontiguousarray(items.T),
        "mean": mean.astype(np.float32)[None, :],
        "never": np.array(1000, dtype=np.float32),
        "top": np.array([TOP], dtype=np.int64),
    }
    nodes = [
        helper.make_node("Sub", ["basket", "mean"], ["centred"]),
        helper.make_node("MatMul", ["centred", "factors_of_items"], ["shopper_factors"]),
        helper.make_node("MatMul", ["shopper_factors", "item_factors"], ["liking"]),
        helper.make_node("Add", ["liking", "mean"], ["expected"]),
        helper.make_node("Mul", ["basket", "never"], ["bought"]),
        helper.make_node("Sub", ["expected", "bought"], ["open"]),
        helper.make_node("TopK", ["open", "top"], ["scores", "items"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "recommender",
        [helper.make_tensor_value_info("basket", TensorProto.FLOAT, [None, len(GOODS)])],
        [
            helper.make_tensor_value_info("items", TensorProto.INT64, [None, TOP]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, TOP]),
        ],
        [numpy_helper.from_array(values, name) for name, values in tensors.items()],
    )
    opset = [helper.make_opsetid("", OPSET)]
    return stamped(
        helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION), "recommender"
    )
