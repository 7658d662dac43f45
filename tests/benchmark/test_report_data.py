"""The data section: what the training renders show of each expression unit."""
import numpy as np

from serep.benchmark.report_sections import data_section
from serep.data.coverage import UnitCoverage

IMAGES = np.zeros((4, 8, 8, 3), np.uint8)
COUNTS = {"train-0": {"images": 200, "people": 4, "expressions": 9, "bytes_per_image": 1000}}
COVERAGE = [UnitCoverage("jawOpen", 50, 0.25, 0.1, 0.02, 1.21, None), UnitCoverage("mouthSmile_L", 40, 0.2, 0.05, 0.0, 0.9, 0.05),
            UnitCoverage("mouthSmile_R", 0, 0.0, 0.0, 0.0, 0.04, 0.0), UnitCoverage("Éveil", 10, 0.05, 0.0, 0.0, 0.3, None)]


def test_units_are_counted_in_percent_and_grouped_by_part_of_the_face():
    section = data_section(IMAGES, (), np.zeros((0, 0)), (), COUNTS, coverage=COVERAGE, recipes={"training": 0.75, "halves": 0.25})
    parts, units = section.tables
    assert parts.title == "Rendered parts" and len(section.figures) == 1
    assert [name for name, _ in units.groups()] == ["jaw", "mouth", "other"]
    jaw, left, right, _ = units.rows
    assert jaw.values == (50, 25.0, 10.0, 2.0, None, 1.21)
    assert left.values == (40, 20.0, 5.0, 0.0, 25.0, 0.9)
    assert right.values[0] == 0 and right.values[4] is None  # of no image there is no share
    assert "training 75 %, halves 25 %" in units.note and "at least 0.1" in units.note and "Gaze" not in units.note


def test_that_gaze_is_drawn_for_itself_is_said_where_no_code_turns_the_eyes():
    gaze = UnitCoverage("eyeLookUp_L", 0, 0.0, 0.0, 0.0, 0.0, 0.0)
    note = data_section(IMAGES, (), np.zeros((0, 0)), (), COUNTS, coverage=[*COVERAGE, gaze], recipes={}).tables[1].note
    assert "Gaze is no part of the codes" in note


def test_heads_without_units_leave_the_table_out():
    section = data_section(IMAGES, (), np.zeros((0, 0)), (), COUNTS)
    assert [table.title for table in section.tables] == ["Rendered parts"]
