"""Measurements: one run in, one raw artifact out. Importing this package registers them."""

from kit.measurements.cost import Cost
from kit.measurements.features import Features
from kit.measurements.latency import Latency
from kit.measurements.memory import Memory
from kit.measurements.quality import Quality
from kit.measurements.selftest import SelfTest

__all__ = ["Cost", "Features", "Latency", "Memory", "Quality", "SelfTest"]
