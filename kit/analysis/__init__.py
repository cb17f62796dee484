"""Numbers from artifacts: pure functions over saved arrays. No model and no torch here.

Importing the package registers the kit's metrics; `kit.analysis.score` applies them.
"""

from kit.analysis import calibration as calibration
from kit.analysis import costs as costs
from kit.analysis import metrics as metrics
from kit.analysis import ood as ood
from kit.analysis import regression as regression
from kit.analysis import resolution as resolution
from kit.analysis import scaling as scaling
from kit.analysis import selective as selective
from kit.analysis import unlabelled as unlabelled
