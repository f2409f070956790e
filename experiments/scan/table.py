"""The rows of `published.csv` and the cells of `configs/scan.py` that answer them."""

TITLE = "Lake & Baroni 2018: generalisation on SCAN"
NOTES = (
    "The replication's overall-best net has 100 units, half of the paper's.",
    "Ours train in batches of 32, the others one command at a time.",
)
ROWS = {
    "simple, overall best": "simple,overall-best",
    "simple, best": "simple,best",
    "length, overall best": "length,overall-best",
    "length, best": "length,best",
    "turn left, overall best": "addprim_turn_left,overall-best",
    "turn left, best": "addprim_turn_left,best",
    "jump, overall best": "addprim_jump,overall-best",
    "jump, best": "addprim_jump,best",
    "simple, 1 % of the commands": "simple,1-percent",
    "simple, 2 % of the commands": "simple,2-percent",
    "simple, 4 % of the commands": "simple,4-percent",
    "simple, 8 % of the commands": "simple,8-percent",
    "simple, 16 % of the commands": "simple,16-percent",
    "simple, 32 % of the commands": "simple,32-percent",
    "simple, 64 % of the commands": "simple,64-percent",
    "replication: simple, overall best": None,
    "replication: simple, best": None,
    "replication: length, overall best": None,
    "replication: length, best": None,
    "replication: turn left, overall best": None,
    "replication: turn left, best": None,
    "replication: jump, overall best": None,
    "replication: jump, best": None,
    "replication: simple, 1 %": None,
    "replication: simple, 2 %": None,
    "replication: simple, 4 %": None,
    "replication: simple, 8 %": None,
    "replication: simple, 16 %": None,
    "replication: simple, 32 %": None,
    "replication: simple, 64 %": None,
}
COLUMNS = ("exact_match",)
