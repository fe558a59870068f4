"""Quality on a data set: reading it, judging what a model makes of it, comparing models.

* ``read_dataset`` reads a CSV, an NPZ or a folder of pictures for one model (``Wanted``): the
  inputs go to the Worker, the truth stays.  A ``DataMapping`` says what names do not.
* ``plan_quality`` says what to measure, ``judge`` finds the answers among the Worker's outputs,
  ``measure_quality`` makes the rows of a Certificate of them.
* ``rank`` compares several judged models on one data set.

All of it is arithmetic on arrays: same data, same answers, same figures.
"""

from hanse.core.certify.data.bakeoff import (
    BakeOffEntry,
    BakeOffPair,
    BakeOffRow,
    BakeOffTable,
    rank,
    table_csv,
)
from hanse.core.certify.data.costs import CostMatrix, expected_cost, read_costs
from hanse.core.certify.data.dataset import DataNote, DataSet, ReadImages, Wanted
from hanse.core.certify.data.evaluating import (
    Confusion,
    LeftOut,
    Quality,
    check_rows,
    counts_for_level_3,
    evaluate_quality,
    measure_quality,
    needed_n,
)
from hanse.core.certify.data.faults import DataTooSmall, MappingNeeded
from hanse.core.certify.data.image_folder import ImageFile, list_images
from hanse.core.certify.data.mapping import DataMapping, mapping_of, read_mapping
from hanse.core.certify.data.outputs import Judged, judge
from hanse.core.certify.data.plan import QualityPlan, kind_of, plan_quality, usual_metrics
from hanse.core.certify.data.reading import read_dataset

__all__ = [
    "BakeOffEntry",
    "BakeOffPair",
    "BakeOffRow",
    "BakeOffTable",
    "Confusion",
    "CostMatrix",
    "DataMapping",
    "DataNote",
    "DataSet",
    "DataTooSmall",
    "ImageFile",
    "Judged",
    "LeftOut",
    "MappingNeeded",
    "Quality",
    "QualityPlan",
    "ReadImages",
    "Wanted",
    "check_rows",
    "counts_for_level_3",
    "evaluate_quality",
    "expected_cost",
    "judge",
    "kind_of",
    "list_images",
    "mapping_of",
    "measure_quality",
    "needed_n",
    "plan_quality",
    "rank",
    "read_costs",
    "read_dataset",
    "read_mapping",
    "table_csv",
    "usual_metrics",
]
