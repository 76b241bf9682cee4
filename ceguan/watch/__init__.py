"""The clockwork: takes in what arrived, runs quality and science on it, computes status, raises findings, notifies.

Rules of verdicts (ledger `verdict.rule`), with what `value`, `level` and `outcome` mean:

    aqi-hour, aqi-day    value AQI, level 优 … 严重污染; outcome given | not_evaluated           air stations
    water-class          value 1 … 6, level Ⅰ … 劣Ⅴ; outcome given | not_evaluated              water sections
    limit-hour:<factor>  value judged; outcome within | over | not_evaluated                    flue-gas outlets
    limit-day:<factor>   value judged; outcome within | over | not_evaluated                    wastewater outlets
    noise-day, noise-night  value Ld or Ln (ts 06:00 or 22:00); outcome within | over | not_evaluated
    radiation-hour       value dose rate; outcome within | above | below | not_evaluated        a statement, no verdict

Every verdict's `detail` has `zh` and `en`: the sentence a person reads. Rules of findings: limit-hour:<factor>,
limit-day:<factor>, silent, clock, flatline:<factor>, radiation-hour.
"""
