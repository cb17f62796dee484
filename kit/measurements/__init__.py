"""Measurements: one run in, one raw artifact out. Importing this package registers them.

Each name asks for one: called with arguments it gives a Ref.
"""

from kit.measurements.cost import cost as Cost  # noqa: N812
from kit.measurements.decode import decode as Decode  # noqa: N812
from kit.measurements.find_needles import find_needles as FindNeedles  # noqa: N812
from kit.measurements.generate import generate as Generate  # noqa: N812
from kit.measurements.latency import latency as Latency  # noqa: N812
from kit.measurements.memory import memory as Memory  # noqa: N812
from kit.measurements.quality import Quality
from kit.measurements.quality import classify as Classify  # noqa: N812
from kit.measurements.score_choices import score_choices as ScoreChoices  # noqa: N812
from kit.measurements.score_last import score_last as ScoreLast  # noqa: N812
from kit.measurements.score_lm_eval import score_lm_eval as ScoreLmEval  # noqa: N812
from kit.measurements.score_text import score_text as ScoreText  # noqa: N812
from kit.measurements.selftest import self_test as SelfTest  # noqa: N812
from kit.measurements.state import state as State  # noqa: N812
from kit.measurements.state import users as Users  # noqa: N812
from kit.measurements.write import write as Write  # noqa: N812

__all__ = [
    "Classify",
    "Cost",
    "Decode",
    "FindNeedles",
    "Generate",
    "Latency",
    "Memory",
    "Quality",
    "ScoreChoices",
    "ScoreLast",
    "ScoreLmEval",
    "ScoreText",
    "SelfTest",
    "State",
    "Users",
    "Write",
]
