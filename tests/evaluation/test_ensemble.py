import pytest

from seq2seq_jax.evaluation.ensemble import joint
from seq2seq_jax.types import InputError
from tests.small import small_config


def member(score):
    return small_config(**{"attention.score": score})


@pytest.mark.parametrize("scores", [("none", "general"), ("dot", "none")])
def test_one_member_that_attends_is_enough_for_alignments(scores):
    members = [member(score) for score in scores]
    config = joint(members, {"replace_unknown": True, "coverage_penalty": 0.2})
    assert config.evaluation.replace_unknown and config.evaluation.coverage_penalty == 0.2
    assert config.model.attention.score == scores[0]
    assert not members[0].evaluation.replace_unknown


def test_a_search_that_no_member_can_make_is_refused():
    with pytest.raises(InputError, match="replace_unknown needs alignments, which score = none"):
        joint([member("none")] * 2, {"replace_unknown": True})
    with pytest.raises(InputError, match="beam"):
        joint([member("none"), member("dot")], {"beam": 0})
