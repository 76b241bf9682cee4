"""标准: the law as dated tables. Every row names its standard, clause, validity, trust and source; nothing here judges.

A new edition of a standard is new rows: no function changes. Trust: P read in the text, 2 two sources, 1 one source,
unsure from memory or unverified, local a bureau's own setting.
"""
