"""Reads an export back as another program does, and prints each reading as a line of JSON, its time in nanoseconds and its value
as text, floats as their bits. Whatever a person would stumble over is an error: a cell that is a formula, a date that is none.

    readback.py csv|xlsx|parquet FILE"""
import csv
import datetime
import json
import re
import struct
import sys


def nanoseconds(text):
    """Returns the nanoseconds of an RFC 3339 time, which must have an offset, and its clock's time to the millisecond."""
    found = re.fullmatch(r"(\d+)-(\d+)-(\d+)T(\d+):(\d+):(\d+)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)", text)
    assert found, f"{text} is no time with an offset"
    clock = datetime.datetime(*map(int, found.groups()[:6]))
    fraction = int((found[7] or "").ljust(9, "0"))
    offset = 0
    if found[8] != "Z":
        offset = (int(found[8][1:3]) * 60 + int(found[8][4:])) * 60 * (-1 if found[8][0] == "-" else 1)
    seconds = round((clock - datetime.datetime(1970, 1, 1)).total_seconds()) - offset
    return seconds * 10**9 + fraction, clock + datetime.timedelta(microseconds=fraction // 1000)


def value(kind, cell):
    if kind == "float":
        return struct.pack(">d", float(cell)).hex()
    if kind == "bool":
        return str(cell).lower()
    return str(cell)


def show(gateway, sensor, time, kind, cell):
    print(json.dumps({"gateway": gateway, "sensor": sensor, "time_ns": str(time), "kind": kind, "value": value(kind, cell)}))


def unquoted(cell):
    assert cell[:1] not in tuple("=+-@\t\r") or re.fullmatch(r"-?[\d.]+(e[+-]?\d+)?", cell), f"{cell!r} is a formula to a spreadsheet"
    return cell[1:] if cell[:1] == "'" else cell


def read_csv(path):
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            row = {name: unquoted(cell) for name, cell in row.items()}
            time, _ = nanoseconds(row["time"])
            assert str(time) == row["time_ns"], f"{row['time']} is not {row['time_ns']}"
            show(row["gateway"], row["sensor"], time, row["kind"], row["value"])


def read_xlsx(path):
    import openpyxl
    from openpyxl.utils.escape import unescape

    truths = {"=TRUE()": True, "=FALSE()": False}  # as LibreOffice saves them
    book = openpyxl.load_workbook(path, read_only=True)
    for name in book.sheetnames:
        rows = book[name].iter_rows()
        if not name.startswith("Readings"):
            continue
        titles = [cell.value for cell in next(rows)]
        assert titles[:3] == ["gateway", "sensor", "time"] and titles[3].startswith("date ("), titles
        for cells in rows:
            for cell in cells:
                assert cell.data_type != "f" or cell.value in truths, f"{cell.coordinate} is a formula: {cell.value}"
            gateway, sensor, time, date, kind, is_ = (list(cells) + [None])[:6]
            time, clock = nanoseconds(time.value)
            if isinstance(date.value, datetime.datetime):
                assert abs(date.value - clock) <= datetime.timedelta(milliseconds=1), f"{date.value} is not {clock}"
            else:
                assert clock.year < 1900, f"{clock} is no date but {date.value!r}"
            kind, cell = kind.value, is_.value if is_ is not None else None
            cell = truths.get(cell, cell) if kind == "bool" else cell
            if kind == "bool":
                assert isinstance(cell, bool), f"{cell!r} is no truth"
            elif kind == "text":
                assert cell is None or isinstance(cell, str), f"{cell!r} is no text"
            elif isinstance(cell, str):  # what a spreadsheet's number cannot hold
                assert cell in ("NaN", "+Inf", "-Inf", "-0.0", "-0") or abs(int(cell)) >= 2**53, f"{cell!r} is no number"
            show(unescape(gateway.value), unescape(sensor.value), time, kind, unescape(cell) if isinstance(cell, str) else "" if cell is None else cell)


def read_parquet(path):
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(path)
    times = table.column("time").cast("int64").to_pylist()
    for time, row in zip(times, table.drop_columns(["time"]).to_pylist()):
        kind = row["kind"]
        show(row["gateway"], row["sensor"], time, kind, row["value_" + kind] if "value_" + kind in row else row[kind])


{"csv": read_csv, "xlsx": read_xlsx, "parquet": read_parquet}[sys.argv[1]](sys.argv[2])
