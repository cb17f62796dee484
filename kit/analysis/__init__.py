"""Numbers from artifacts: pure functions over saved arrays. No model and no torch here.

`score` applies the metrics of `kit.analysis.metrics`; their intervals and tests are in
`kit.analysis.statistics`.
"""
