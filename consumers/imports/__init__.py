"""Imports: an exchange made out of another one's history. A table of trades becomes commands with the recorded times.

mapping.py    the small file that says which column is which
tables.py     CSV, JSON lines and Parquet as rows of texts
cells.py      times, amounts and words in those texts
reading.py    rows -> trades, accounts and markets; every bad row with its place
history.py    trades, accounts and markets -> commands, in the order of their times
run.py        commands -> a real engine and a real log
"""
