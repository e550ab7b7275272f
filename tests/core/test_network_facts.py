"""What a network's file says of itself: each fact is checked, and against the others, in one line
that names it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from smaf.core.errors import InputError
from smaf.core.network_facts import (
    ClassifierInfo,
    NetworkFacts,
    SegmenterInfo,
    parse_classifier,
    parse_facts,
    parse_predict,
    parse_segmenter,
    write_facts,
)
from smaf.core.predict_settings import PredictSettings
from smaf.core.views import Views

PREDICT: dict[str, Any] = {
    "scales": [0.5, 1],
    "flip": True,
    "long_side": 448,
    "background": 0.3,
    "score": 0.5,
    "label_filter": "logits",
    "crf_background": None,
}
FACTS: dict[str, Any] = {
    "classes": ["cat", "dog"],
    "mean": [0.5, 0.4, 0.3],
    "std": [0.2, 0.2, 1],
    "segments": False,
    "bgr": False,
    "predict": PREDICT,
}
INFO: dict[str, Any] = {
    "backbone": "resnet18",
    "head": "eps",
    "num_classes": 2,
    "output_stride": 16,
    "class_names": ("cat", "dog"),
}
HEADS = ("smaf", "eps", "cls")
NAN, INF = float("nan"), float("inf")


def test_whole_facts_are_read() -> None:
    settings = PredictSettings(Views((0.5, 1.0), True, 448, label_filter="logits"), 0.3, 0.5)
    facts = parse_facts(json.dumps(FACTS), "weights x")
    assert facts == NetworkFacts(
        ("cat", "dog"), (0.5, 0.4, 0.3), (0.2, 0.2, 1.0), False, False, settings
    )
    older = {key: value for key, value in FACTS.items() if key not in {"segments", "bgr"}} | {
        "predict": None
    }
    assert parse_facts(json.dumps(older), "weights x").settings is None


@pytest.mark.parametrize(
    "facts",
    [
        NetworkFacts(("cat", "dog"), (0.5, 0.4, 0.3), (0.2, 0.2, 1.0)),
        NetworkFacts(
            ("cat", "dîner"),
            (0.1, 0.2, 0.3),
            (1 / 255,) * 3,
            segments=True,
            bgr=True,
            settings=PredictSettings(Views((0.5, 1.25), flip=False), None, 0.61),
        ),
        NetworkFacts(
            ("a",),
            (0.0, 1.0, 1 / 3),
            (0.001, 0.5, 1.0),
            settings=PredictSettings(
                Views((1.0,), long_side=448, label_filter="logits"),
                0.38,
                0.1,
                crf_background=0.4,
                score_share=0.02,
                min_share=0.01,
            ),
        ),
    ],
)
def test_facts_that_are_written_are_read_again(facts: NetworkFacts) -> None:
    assert parse_facts(write_facts(facts), "weights x") == facts


def test_facts_are_written_as_earlier_versions_wrote_them() -> None:
    facts = parse_facts(json.dumps(FACTS), "weights x")
    assert write_facts(facts) == json.dumps(
        {**FACTS, "std": [0.2, 0.2, 1.0], "predict": {**PREDICT, "scales": [0.5, 1.0]}}
    )
    assert parse_classifier(INFO, "weights x", HEADS) == ClassifierInfo(
        "resnet18", "eps", 2, 16, ("cat", "dog")
    )
    segmenter = {
        "name": "resnet18",
        "num_classes": 3,
        "output_stride": 8,
        "class_names": ["cat", "dog"],
    }
    assert parse_segmenter(segmenter, "weights x") == SegmenterInfo(
        "resnet18", 3, 8, ("cat", "dog")
    )
    assert parse_segmenter({**segmenter, "decoder": True}, "weights x").decoder
    with pytest.raises(InputError, match="decoder is 3, expected true or false"):
        parse_segmenter({**segmenter, "decoder": 3}, "weights x")
    with pytest.raises(InputError, match=r"class_names has 3 names, num_classes asks for 2"):
        parse_segmenter({**segmenter, "class_names": ["background", "cat", "dog"]}, "weights x")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scales": []}, "scales is [], expected 1 to 16 numbers"),
        ({"scales": [1.0] * 17}, "expected 1 to 16 numbers"),
        ({"scales": [1e6]}, "scales is [1000000.0], expected"),
        ({"scales": [0.0]}, "scales is [0.0], expected"),
        ({"scales": [-1.0]}, "scales is [-1.0], expected"),
        ({"scales": [NAN]}, "scales is [nan], expected"),
        ({"scales": ["1"]}, "scales is ['1'], expected"),
        ({"scales": [True]}, "scales is [True], expected"),
        ({"scales": 1.0}, "scales is 1.0, expected"),
        ({"scales": "1.0"}, "scales is '1.0', expected"),
        ({"flip": 1}, "flip is 1, expected true or false"),
        ({"flip": "no"}, "flip is 'no', expected true or false"),
        ({"flip": None}, "flip is None, expected true or false"),
        ({"long_side": 0}, "long_side is 0, expected a whole number from 1"),
        ({"long_side": 448.0}, "long_side is 448.0, expected a whole number"),
        ({"long_side": True}, "long_side is True, expected a whole number"),
        ({"long_side": 10**5000}, "long_side is a int of far too many digits"),
        ({"background": 1.0}, "background is 1.0, expected a number between 0 and 1"),
        ({"background": "0.2"}, "background is '0.2', expected a number"),
        ({"background": INF}, "background is inf, expected"),
        ({"score": 0}, "score is 0, expected a number between 0 and 1"),
        ({"score": None}, "score is None, expected"),
        ({"crf_background": -0.1}, "crf_background is -0.1"),
        (
            {"label_filter": "logit"},
            "label_filter is 'logit', expected one of maps, logits (did you mean 'logits'?)",
        ),
        ({"label_filter": None}, "label_filter is None, expected one of"),
        ({"scals": [1.0]}, "unknown entry 'scals' (did you mean 'scales'?)"),
        ({5: 1}, "unknown entry 5"),
    ],
)
def test_wrong_settings_are_named(change: dict[Any, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_predict({**PREDICT, **change}, "weights x.pth")
    message = str(caught.value)
    assert message.startswith("weights x.pth, predict") and words in message and "\n" not in message


def test_missing_settings_are_named() -> None:
    for key in ("scales", "flip", "long_side", "background", "score"):
        with pytest.raises(InputError, match=f"predict has no {key}"):
            parse_predict({k: v for k, v in PREDICT.items() if k != key}, "weights x")
    for value in ([1.0], "maps", 3):
        with pytest.raises(InputError, match="expected entries with names"):
            parse_predict(value, "weights x")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"classes": "cat"}, "classes is 'cat', expected a list"),
        ({"classes": []}, "at least one name"),
        ({"classes": ["cat", ""]}, "the name '', expected a text"),
        ({"classes": ["cat", " "]}, "the name ' ', expected a text"),
        ({"classes": ["cat", 3]}, "the name 3, expected a text"),
        ({"classes": ["cat", "cat"]}, "the name 'cat' twice"),
        ({"classes": ["cat\ndog"]}, "which has a control character"),
        ({"classes": [f"c{i}" for i in range(255)]}, "a list of at most 254 names"),
        ({"mean": [0.5]}, "mean is [0.5], expected 3 numbers from 0 to 1"),
        ({"mean": [123.7, 116.3, 103.5]}, "expected 3 numbers from 0 to 1"),
        ({"std": [0.2, 0.0, 0.2]}, "std is [0.2, 0.0, 0.2], expected 3 numbers from 0.001 to 1"),
        ({"std": None}, "std is None"),
        ({"segments": "true"}, "segments is 'true', expected true or false"),
        ({"bgr": 1}, "bgr is 1, expected true or false"),
        ({"bgr": True}, "bgr is True, expected false: classifiers take RGB"),
        ({"predict": []}, "predict is [], expected entries"),
        ({"class": []}, "unknown entry 'class' (did you mean 'classes'?)"),
    ],
)
def test_wrong_facts_of_exported_networks_are_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_facts(json.dumps({**FACTS, **change}), "weights x.onnx")
    assert str(caught.value).startswith("weights x.onnx") and words in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[1]",
        "null",
        '{"classes": NaN}',
        '{"mean": 1, "mean": 2}',
        "9" * 5000,
        "[" * 100_000,
        '{"a":' * 100_000,
        b"\xff\xfe",
        "Infinity",
    ],
)
def test_what_is_no_json_of_facts_is_one_line(text: str | bytes) -> None:
    with pytest.raises(InputError, match="weights x") as caught:
        parse_facts(text, "weights x")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"backbone": 5}, "backbone is 5, expected the name of a network"),
        ({"backbone": "../x"}, "expected the name of a network"),
        ({"backbone": "hf-hub:x/y"}, "expected the name of a network"),
        ({"backbone": ""}, "expected the name of a network"),
        ({"head": "epss"}, "expected one of smaf, eps, cls (did you mean 'eps'?)"),
        ({"head": ["eps"]}, "expected one of smaf, eps, cls"),
        ({"num_classes": True}, "expected a whole number from 1 to 254"),
        ({"num_classes": 2.0}, "expected a whole number from 1 to 254"),
        ({"num_classes": "2"}, "expected a whole number from 1 to 254"),
        ({"num_classes": 0}, "expected a whole number from 1 to 254"),
        ({"output_stride": 12}, "output_stride is 12, expected 8, 14 or 16"),
        ({"output_stride": 32}, "output_stride is 32"),
        ({"class_names": "cat"}, "class_names is 'cat', expected a list"),
        ({"class_names": ["cat", "dog", "cow"]}, "class_names has 3 names, num_classes asks for 2"),
        ({"class_names": ["cat"]}, "class_names has 1 names, num_classes asks for 2"),
        ({"num_clases": 2}, "unknown entry 'num_clases' (did you mean 'num_classes'?)"),
    ],
)
def test_wrong_infos_are_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_classifier({**INFO, **change}, "weights x.pth", HEADS)
    assert str(caught.value).startswith("weights x.pth, info") and words in str(caught.value)
