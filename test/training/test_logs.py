"""Tables, curves and lines of a run, and how they go on."""

import csv

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from internimage_perception.training.logs import RunLog, Table


class Scores:
    names = ("val/miou",)


def lines(path):
    return path.read_text().splitlines()


def open_log(folder, step=0, *, steps=10, speaks=True):
    return RunLog(folder, step, steps, Scores(), speaks=speaks)


def test_rows_of_a_table(tmp_path):
    table = Table(tmp_path / "t.csv", ["a", "b"], 0)
    table.add(2, {"b": 1 / 3})
    table.add(4, {"b": 1e-7, "a": float("nan")})
    table.add(6, {"a": "text, with comma"}, {"a": "more"})
    assert lines(tmp_path / "t.csv") == [
        "step,a,b", "2,,0.333333", "4,nan,1e-07", '6,"text, with comma",', "6,more,",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="c"):
        table.add(8, {"c": 1.0})


def test_a_table_goes_on_where_the_checkpoint_is(tmp_path):
    path = tmp_path / "t.csv"
    first = Table(path, ["a"], 0)
    for step in (2, 4, 6):
        first.add(step, {"a": step * 1.5})
    with path.open("a") as file:
        file.write("8")
    second = Table(path, ["a"], 4)
    second.add(6, {"a": 0.5})
    assert lines(path) == ["step,a", "2,3", "4,6", "6,0.5"]
    Table(path, ["a"], 0)
    assert lines(path) == ["step,a"]


def test_values_stay_with_their_columns(tmp_path):
    path = tmp_path / "t.csv"
    Table(path, ["old", "both"], 0).add(2, {"old": 1.0, "both": 2.0})
    Table(path, ["both", "new"], 2).add(4, {"both": 3.0, "new": 4.0})
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert rows == [
        {"step": "2", "old": "1", "both": "2", "new": ""},
        {"step": "4", "old": "", "both": "3", "new": "4"},
    ]


@pytest.mark.parametrize("content", ["", "\n", "a,b\n1,2\n", "step\nx\n\n3\n"])
def test_files_that_are_no_tables(tmp_path, content):
    path = tmp_path / "t.csv"
    path.write_text(content)
    Table(path, ["a"], 3).add(4, {"a": 1})
    assert lines(path)[0] == "step,a"
    assert lines(path)[-1] == "4,1"
    assert len(lines(path)) == 2 + content.count("3")


def test_files_of_a_run(tmp_path, capsys):
    log = open_log(tmp_path)
    log.losses(2, {"loss": 1.25, "learning_rate": 1e-4})
    log.skipped(2, [])
    assert not (tmp_path / "skipped.csv").exists()
    log.skipped(4, [("set", "a.png", "damaged"), ("set", "b.png", "odd")])
    log.skipped(6, [("set", "c.png", "damaged")])
    log.scores(5, {"val/miou": 0.5})
    log.losses(10, {"loss": 0.5, "learning_rate": 0.0})
    log.close()
    assert lines(tmp_path / "log.csv") == [
        "step,loss,cross_entropy,dice,auxiliary,target,target_share,learning_rate,pictures_per_s",
        "2,1.25,,,,,,0.0001,", "10,0.5,,,,,,0,",
    ]  # fmt: skip
    assert lines(tmp_path / "validation.csv") == ["step,val/miou", "5,0.5"]
    assert lines(tmp_path / "skipped.csv") == [
        "step,dataset,name,reason", "4,set,a.png,damaged", "4,set,b.png,odd", "6,set,c.png,damaged",
    ]  # fmt: skip
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("step 2/10, loss 1.2500, ") and said[0].endswith("left")
    assert said[1] == "step 5: val/miou 0.5000"
    assert said[2].startswith("step 10/10, loss 0.5000, 0 s left")


def curve(folder, name):
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


def test_a_run_that_goes_on(tmp_path):
    # Nobody closes the first one: it was killed.
    log = open_log(tmp_path)
    for step in (2, 4, 6):
        log.losses(step, {"loss": float(step)})
        log.scores(step, {"val/miou": step / 10})
        log.skipped(step, [("set", f"{step}.png", "damaged")])
    assert curve(tmp_path, "train/loss") == [(2, 2.0), (4, 4.0), (6, 6.0)]
    log = open_log(tmp_path, step=4)
    assert [line.split(",")[0] for line in lines(tmp_path / "log.csv")[1:]] == ["2", "4"]
    assert lines(tmp_path / "validation.csv")[1:] == ["2,0.2", "4,0.4"]
    log.losses(6, {"loss": 60.0})
    log.skipped(6, [("set", "6.png", "damaged")])
    log.close()
    assert lines(tmp_path / "skipped.csv")[1:] == [f"{step},set,{step}.png,damaged" for step in (2, 4, 6)]
    assert curve(tmp_path, "train/loss") == [(2, 2.0), (4, 4.0), (6, 60.0)]
    assert [step for step, _ in curve(tmp_path, "validation/val/miou")] == [2, 4]


def test_other_processes_keep_silent(tmp_path, capsys):
    log = open_log(tmp_path / "run", speaks=False)
    log.losses(2, {"loss": 1.0})
    log.scores(2, {"val/miou": 1.0})
    log.skipped(2, [("set", "a", "b")])
    log.close()
    assert not (tmp_path / "run").exists()
    assert capsys.readouterr() == ("", "")


def test_a_terminal_sees_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    log = open_log(tmp_path)
    log.losses(5, {"loss": 1.0})
    log.losses(10, {"loss": 0.5})
    log.close()
    assert capsys.readouterr().err.count("\n") == 1
