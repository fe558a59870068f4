"""Two samples for a factory, on synthetic sensor series and a synthetic moulding process."""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, PolynomialFeatures

from tests.golden.sample_recipes.conversion import (
    classifier_outputs,
    from_sklearn,
    regressor_outputs,
)
from tests.golden.sample_recipes.kinds import Feature, Port, Recipe, rounded
from tests.golden.sample_recipes.measures import (
    explained,
    mean_absolute,
    resampled,
    roc_auc,
    share,
)

MAINTENANCE_SEED, PROCESS_SEED = 20_501, 20_502
FALSE_ALARMS = 0.02

WINDOW = (
    Feature(
        "vibration_rms",
        "vibration, root mean square of 24 h",
        "振动有效值（24 小时）",
        "mm/s",
        0,
        30,
        3,
    ),
    Feature(
        "vibration_peak", "vibration, largest of 24 h", "振动峰值（24 小时）", "mm/s", 0, 60, 3
    ),
    Feature(
        "vibration_slope", "vibration, change over 24 h", "振动变化（24 小时）", "mm/s", -15, 15, 3
    ),
    Feature(
        "temperature_mean",
        "temperature of the bearing, mean of 24 h",
        "轴承温度均值（24 小时）",
        "degC",
        10,
        140,
        2,
    ),
    Feature(
        "temperature_slope",
        "temperature of the bearing, change over 24 h",
        "轴承温度变化（24 小时）",
        "degC",
        -40,
        40,
        2,
    ),
    Feature(
        "current_mean",
        "current of the motor, mean of 24 h",
        "电机电流均值（24 小时）",
        "A",
        0,
        80,
        2,
    ),
    Feature(
        "current_spread",
        "current of the motor, standard deviation of 24 h",
        "电机电流标准差（24 小时）",
        "A",
        0,
        25,
        3,
    ),
    Feature(
        "speed_mean",
        "speed of the spindle, mean of 24 h",
        "主轴转速均值（24 小时）",
        "1/min",
        500,
        3500,
        0,
    ),
    Feature(
        "hours_since_service", "hours since the last service", "距上次保养的运行时间", "h", 0, 6000
    ),
    Feature("load_share", "share of the rated load", "负载率", "", 0, 1.3, 3),
)
MACHINES, LIFE, HORIZON, SPAN = 240, 900, 48, 24


def machine(chance: np.random.Generator) -> tuple[list[list[float]], list[int]]:
    """Run one machine hour by hour to its failure, or to the end of the watch; give its windows."""
    fails = chance.random() < 0.6
    end = int(chance.integers(300, LIFE)) if fails else LIFE
    hour = np.arange(end)
    onset = chance.uniform(50, 140)
    wear = np.exp(-(end - hour) / onset * 2.2) if fails else np.zeros(end)
    false_wear = 0.35 * np.exp(-(((hour - chance.uniform(100, 800)) / 25) ** 2))  # it passes again
    load = np.clip(0.75 + np.cumsum(chance.normal(0, 0.01, end)), 0.3, 1.2)
    speed = chance.uniform(1200, 2600) * (1 + chance.normal(0, 0.01, end))
    sign = chance.uniform(0.4, 1.6, 3)  # how strongly this failure shows in each sensor
    worn = wear + false_wear
    vibration = (
        chance.uniform(1.2, 2.2) * (1 + 0.4 * load) + 6 * sign[0] * worn
    ) * np.exp(chance.normal(0, 0.18, end))  # fmt: skip
    heat = chance.uniform(42, 52) + 14 * load + 22 * sign[1] * worn + chance.normal(0, 2.0, end)
    current = 22 * load + 7 * sign[2] * worn + chance.normal(0, 1.2 + 2.5 * wear, end)
    service = chance.uniform(0, 4000) + hour
    rows, soon = [], []
    for last in range(SPAN, end, 12):
        v, t, c = (series[last - SPAN : last] for series in (vibration, heat, current))
        half = SPAN // 2
        rows.append(
            [
                np.sqrt(np.mean(v**2)),
                v.max(),
                v[half:].mean() - v[:half].mean(),
                t.mean(),
                t[half:].mean() - t[:half].mean(),
                c.mean(),
                c.std(),
                speed[last - SPAN : last].mean(),
                service[last],
                load[last - SPAN : last].mean(),
            ]
        )
        soon.append(int(fails and end - last <= HORIZON))
    return rows, soon


def predictive_maintenance() -> Recipe:
    chance = np.random.default_rng(MAINTENANCE_SEED)
    made = [machine(chance) for _ in range(MACHINES)]

    def windows(first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        rows = [row for rows, _ in made[first:last] for row in rows]
        soon = [one for _, soon in made[first:last] for one in soon]
        return rounded(list(np.array(rows).T), WINDOW), np.array(soon, dtype=np.int64)

    # Whole machines are kept apart: two windows of one machine are no independent rows.
    x_train, y_train = windows(0, 120)
    x_valid, y_valid = windows(120, 190)
    x_test, y_test = windows(190, MACHINES)
    fitted = RandomForestClassifier(
        40, max_depth=7, min_samples_leaf=8, random_state=MAINTENANCE_SEED, n_jobs=1
    ).fit(x_train, y_train)
    healthy = fitted.predict_proba(x_valid)[:, 1][y_valid == 0]
    threshold = round(float(np.quantile(healthy, 1 - FALSE_ALARMS)), 4)
    # The CSV keeps every window before a failure that fits and fills up with healthy ones.
    mixed = chance.permutation(len(x_test))
    ill = mixed[y_test[mixed] == 1][:60]
    well = mixed[y_test[mixed] == 0][: 200 - len(ill)]
    head = chance.permutation(np.concatenate([ill, well]))
    order = np.concatenate([head, np.setdiff1d(mixed, head)])

    def measure(out, truth, _):
        scores, truth = out["probabilities"][:, 1], truth[:, 0]
        alarm = scores >= threshold
        return [
            share("recall", alarm[truth == 1], threshold=threshold),
            share("false_positive_rate", alarm[truth == 0], threshold=threshold),
            resampled("roc_auc", roc_auc, scores, truth, seed=MAINTENANCE_SEED),
        ]

    return Recipe(
        id="predictive-maintenance",
        seed=MAINTENANCE_SEED,
        input=Port(
            "window",
            "the last 24 hours of one machine, ten columns",
            "一台设备最近 24 小时，十个字段",
        ),
        features=WINDOW,
        outputs=(
            Port(
                "label",
                "0 goes on, 1 fails within 48 hours, at one half",
                "以 0.5 为界：0 正常，1 将在 48 小时内故障",
            ),
            Port("probabilities", "probability of going on and of failing", "正常与故障的概率"),
        ),
        labels=(("goes on", "正常运行"), ("fails within 48 h", "48 小时内故障")),
        target=("fails_soon",),
        model=from_sklearn(fitted, x_train, "predictive_maintenance"),
        predict=classifier_outputs(fitted),
        x_test=x_test[order],
        y_test=y_test[order][:, None],
        measure=measure,
        train_rows=len(x_train),
    )


SETTING = (
    Feature("melt_temperature", "temperature of the melt", "熔体温度", "degC", 200, 280, 1),
    Feature("mould_temperature", "temperature of the mould", "模具温度", "degC", 20, 80, 1),
    Feature("injection_pressure", "injection pressure", "注射压力", "MPa", 60, 140, 1),
    Feature("holding_time", "time of holding pressure", "保压时间", "s", 2, 12, 2),
    Feature("cooling_time", "time of cooling", "冷却时间", "s", 8, 40, 2),
    Feature("screw_speed", "speed of the screw", "螺杆转速", "1/min", 40, 160, 1),
)


def process(chance: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """Return scrap in per cent, kWh a part and seconds a cycle of made-up injection moulding."""
    melt, mould, pressure, hold, cool, screw = x.T.astype(np.float64)
    scrap = (
        1.2
        + ((melt - 238) / 22) ** 2
        + 0.8 * ((mould - 48) / 20) ** 2
        + 1.1 * ((pressure - 102) / 28) ** 2
        + 0.5 * ((hold - 7) / 3) ** 2
        + 2.2 * np.exp(-(cool - 8) / 7)
        + 0.6 * ((melt - 238) / 22) * ((mould - 48) / 20)
        + 0.4 * np.maximum(0, screw - 120) / 20
    )
    energy = (
        0.11 + 0.0011 * (melt - 200) + 0.0006 * pressure + 0.0008 * cool
        + 0.00035 * screw + 0.0009 * (80 - mould) * 0.4
    )  # fmt: skip
    cycle = 6 + hold + cool + 320 / screw + 0.02 * (mould - 20)
    noise = chance.normal(0, 1, (len(x), 3)) * [0.25, 0.006, 0.25]
    return np.stack([scrap, energy, cycle], axis=1) + noise


def production_optimisation() -> Recipe:
    chance = np.random.default_rng(PROCESS_SEED)
    columns = [chance.uniform(one.low, one.high, 4000) for one in SETTING]
    x = rounded(columns, SETTING)
    y = np.round(process(chance, x), 4)
    x_train, x_test, y_train, y_test = x[:3000], x[3000:], y[:3000], y[3000:]
    fitted = make_pipeline(
        MinMaxScaler((-1, 1)), PolynomialFeatures(3, include_bias=False), Ridge(alpha=0.5)
    ).fit(x_train, y_train)
    names = ("scrap_percent", "energy_kwh", "cycle_s")

    def measure(out, truth, _):
        got = out["variable"].astype(np.float64)
        return [
            resampled(
                name, of, got[:, at], truth[:, at], at=f"output={names[at]}", seed=PROCESS_SEED
            )
            for at in range(3)
            for name, of in (("mae", mean_absolute), ("r2", explained))
        ]

    return Recipe(
        id="production-optimisation",
        seed=PROCESS_SEED,
        input=Port("settings", "six settings of the machine", "设备的六项参数"),
        features=SETTING,
        apart=True,
        outputs=(
            Port(
                "variable",
                "scrap in per cent, energy in kWh a part, cycle in seconds",
                "废品率（%）、单件能耗（千瓦时）、成型周期（秒）",
            ),
        ),
        labels=(),
        target=names,
        model=from_sklearn(fitted, x_train, "production_optimisation"),
        predict=regressor_outputs(fitted),
        x_test=x_test,
        y_test=y_test,
        measure=measure,
        train_rows=len(x_train),
    )
