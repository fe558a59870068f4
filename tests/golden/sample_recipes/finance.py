"""Two samples for finance, both on synthetic data: payments, and motor insurance policies."""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, PolynomialFeatures

from tests.golden.sample_recipes.conversion import classifier_outputs, from_sklearn
from tests.golden.sample_recipes.kinds import Feature, Port, Recipe, logistic, rounded
from tests.golden.sample_recipes.measures import (
    brier,
    calibration_error,
    resampled,
    roc_auc,
    share,
)

FRAUD_SEED, RISK_SEED = 20_202, 20_203
FALSE_ALARMS = 0.05

PAYMENT = (
    Feature("amount", "amount of the payment", "交易金额", "EUR", 0.5, 5000, 2),
    Feature(
        "amount_ratio",
        "amount against the card's usual one",
        "金额与该卡平常金额之比",
        "",
        0,
        60,
        2,
    ),
    Feature("hour", "hour of the day", "交易时刻", "h", 0, 24, 1),
    Feature(
        "minutes_since_last",
        "time since the payment before",
        "距上一笔交易的时间",
        "min",
        0,
        10080,
        1,
    ),
    Feature("payments_24h", "payments of the last 24 hours", "24 小时内交易笔数", "", 0, 40),
    Feature(
        "distance_km", "distance to the payment before", "与上一笔交易地点的距离", "km", 0, 12000, 1
    ),
    Feature("card_age_days", "age of the card", "卡龄", "d", 0, 3650),
    Feature(
        "merchant_risk",
        "share of disputed payments at this merchant",
        "该商户被争议交易的比例",
        "",
        0,
        0.2,
        4,
    ),
    Feature(
        "is_online",
        "paid without the card present (1) or with it (0)",
        "无卡支付为 1，持卡支付为 0",
        "",
        0,
        1,
    ),
    Feature(
        "foreign",
        "merchant in another country than the card (1) or not (0)",
        "商户与发卡国家不同为 1，否则为 0",
        "",
        0,
        1,
    ),
)


def payments(chance: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw payments; one in five is fraud, far more than in life, and the card says so."""
    fraud = (chance.random(rows) < 0.2).astype(np.int64)
    usual = np.exp(chance.normal(3.4, 0.7, rows))
    ratio = np.exp(chance.normal(-0.1, 0.6, rows) + fraud * chance.normal(0.9, 0.8, rows))
    night = chance.random(rows) < 0.08 + 0.22 * fraud
    columns = [
        usual * ratio,
        ratio,
        np.where(night, chance.uniform(0, 6, rows), chance.normal(14.5, 3.5, rows) % 24),
        np.exp(chance.normal(6.2, 1.4, rows) - fraud * chance.gamma(2.0, 0.8, rows)),
        chance.poisson(1.6 + fraud * chance.gamma(1.5, 1.6, rows)),
        np.exp(chance.normal(1.6, 1.5, rows) + fraud * chance.normal(1.2, 1.6, rows)),
        chance.gamma(2.2, 380, rows) * np.where(fraud, 0.7, 1.0),
        chance.beta(1.2, 70, rows) + fraud * chance.beta(1.3, 60, rows),
        chance.random(rows) < 0.35 + 0.35 * fraud,
        chance.random(rows) < 0.06 + 0.2 * fraud,
    ]
    return rounded(columns, PAYMENT), fraud


def fraud_detection() -> Recipe:
    chance = np.random.default_rng(FRAUD_SEED)
    x, y = payments(chance, 16_000)
    x_train, x_valid, x_test = x[:10_000], x[10_000:13_000], x[13_000:]
    y_train, y_valid, y_test = y[:10_000], y[10_000:13_000], y[13_000:]
    fitted = GradientBoostingClassifier(
        n_estimators=90, max_depth=3, learning_rate=0.12, subsample=0.8, random_state=FRAUD_SEED
    ).fit(x_train, y_train)
    honest = fitted.predict_proba(x_valid)[:, 1][y_valid == 0]
    threshold = round(float(np.quantile(honest, 1 - FALSE_ALARMS)), 4)

    def measure(out, truth, _):
        scores, truth = out["probabilities"][:, 1], truth[:, 0]
        alarm = scores >= threshold
        return [
            resampled("roc_auc", roc_auc, scores, truth, seed=FRAUD_SEED),
            share("recall", alarm[truth == 1], threshold=threshold),
            share("false_positive_rate", alarm[truth == 0], threshold=threshold),
            resampled("brier", brier, scores, truth, seed=FRAUD_SEED),
        ]

    return Recipe(
        id="fraud-detection",
        seed=FRAUD_SEED,
        input=Port("payment", "one payment, ten columns", "一笔交易，十个字段"),
        features=PAYMENT,
        outputs=(
            Port("label", "0 honest, 1 suspicious, at one half", "以 0.5 为界：0 正常，1 可疑"),
            Port("probabilities", "probability of honest and of fraud", "正常与欺诈的概率"),
        ),
        labels=(("honest", "正常"), ("fraud", "欺诈")),
        target=("fraud",),
        model=from_sklearn(fitted, x_train, "fraud_detection"),
        predict=classifier_outputs(fitted),
        x_test=x_test,
        y_test=y_test[:, None],
        measure=measure,
        train_rows=len(x_train),
    )


POLICY = (
    Feature("driver_age", "age of the driver", "驾驶人年龄", "a", 18, 90),
    Feature("licence_years", "years since the licence", "驾龄", "a", 0, 70),
    Feature("vehicle_age", "age of the vehicle", "车龄", "a", 0, 25),
    Feature("engine_kw", "power of the engine", "发动机功率", "kW", 40, 300),
    Feature("km_per_year", "distance driven in a year", "年行驶里程", "km", 1000, 60000),
    Feature("claims_5y", "claims of the last five years", "近五年理赔次数", "", 0, 8),
    Feature(
        "density", "inhabitants in a square kilometre at home", "居住地人口密度", "1/km2", 5, 12000
    ),
    Feature("deductible", "share of a loss the customer bears", "免赔额", "EUR", 0, 2000),
    Feature("night_share", "share driven at night", "夜间行驶比例", "", 0, 0.6, 3),
)


def policies(chance: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw policies of one year and whether a claim was made, about one in five."""
    age = chance.gamma(7.0, 4.2, rows) + 18
    years = np.maximum(0, (age - 18) * chance.beta(6, 1.6, rows))
    columns = [
        age,
        years,
        chance.gamma(2.0, 3.4, rows),
        chance.gamma(8.0, 11.5, rows) + 30,
        np.exp(chance.normal(9.4, 0.5, rows)),
        chance.poisson(chance.gamma(1.0, 0.8, rows)),
        np.exp(chance.normal(6.2, 1.5, rows)),
        chance.choice([0, 150, 300, 500, 1000, 2000], rows, p=[0.1, 0.3, 0.25, 0.2, 0.1, 0.05]),
        chance.beta(1.6, 9, rows),
    ]
    x = rounded(columns, POLICY)
    age, years, old, power, km, claims, density, deductible, night = x.T.astype(np.float64)
    risk = (
        -2.0
        + 1.8 * np.exp(-((age - 18) ** 2) / 90)
        + 0.9 * np.exp(-((age - 90) ** 2) / 300)
        - 0.015 * years
        - 0.02 * old
        + 0.004 * (power - 100)
        + 0.6 * np.log(km / 12_000)
        + 0.55 * claims
        + 0.25 * np.log(density / 500)
        - 0.0005 * deductible
        + 2.5 * night
    )
    return x, (chance.random(rows) < logistic(risk)).astype(np.int64)


def insurance_risk() -> Recipe:
    chance = np.random.default_rng(RISK_SEED)
    x, y = policies(chance, 15_000)
    x_train, x_test, y_train, y_test = x[:12_000], x[12_000:], y[:12_000], y[12_000:]
    fitted = make_pipeline(
        MinMaxScaler(),
        PolynomialFeatures(2, include_bias=False),
        LogisticRegression(C=1.0, max_iter=4000),
    ).fit(x_train, y_train)

    def measure(out, truth, _):
        scores, truth = out["probabilities"][:, 1], truth[:, 0]
        return [
            resampled("roc_auc", roc_auc, scores, truth, seed=RISK_SEED),
            resampled("brier", brier, scores, truth, seed=RISK_SEED),
            resampled("ece", calibration_error, scores, truth, seed=RISK_SEED),
        ]

    return Recipe(
        id="insurance-risk",
        seed=RISK_SEED,
        input=Port("policy", "one policy, nine columns", "一张保单，九个字段"),
        features=POLICY,
        outputs=(
            Port("label", "0 no claim, 1 claim, at one half", "以 0.5 为界：0 无理赔，1 有理赔"),
            Port("probabilities", "probability of no claim and of a claim", "无理赔与有理赔的概率"),
        ),
        labels=(("no claim", "无理赔"), ("claim", "有理赔")),
        target=("claim",),
        model=from_sklearn(fitted, x_train, "insurance_risk"),
        predict=classifier_outputs(fitted),
        x_test=x_test,
        y_test=y_test[:, None],
        measure=measure,
        train_rows=len(x_train),
    )
