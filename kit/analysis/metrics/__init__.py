"""The kit's metrics, a module a family; importing the package registers them."""

from kit.analysis.findings import distance as distance
from kit.analysis.findings import divergence as divergence
from kit.analysis.findings import noise_floor as noise_floor
from kit.analysis.findings import tokens_saved as tokens_saved
from kit.analysis.findings import wordings as wordings
from kit.analysis.metrics import calibration as calibration
from kit.analysis.metrics import choices as choices
from kit.analysis.metrics import classification as classification
from kit.analysis.metrics import decoding as decoding
from kit.analysis.metrics import generations as generations
from kit.analysis.metrics import measures as measures
from kit.analysis.metrics import multi_label as multi_label
from kit.analysis.metrics import ood as ood
from kit.analysis.metrics import rating as rating
from kit.analysis.metrics import regression as regression
from kit.analysis.metrics import resolution as resolution
from kit.analysis.metrics import scaling as scaling
from kit.analysis.metrics import selective as selective
from kit.analysis.metrics import texts as texts
from kit.analysis.metrics import timing as timing
from kit.analysis.metrics import tokens as tokens
from kit.analysis.metrics import unlabelled as unlabelled
