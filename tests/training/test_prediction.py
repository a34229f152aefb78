from __future__ import annotations

import numpy as np
import pytest
import torch

from vtbench.training.prediction import choose_classes


def test_classes_are_chosen_alike_whether_scores_are_resized_at_once_or_class_by_class(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scores = torch.randn(1, 7, 9, 8, generator=torch.Generator().manual_seed(0)).round(decimals=1)
    at_once = choose_classes(scores, (30, 27), (29, 27))
    assert at_once.shape == (29, 27) and at_once.dtype == np.uint8
    assert len(np.unique(at_once)) == 7
    for most in (1, 30 * 27 * 2):
        monkeypatch.setattr("vtbench.training.prediction._MOST_SCORES", most)
        assert np.array_equal(choose_classes(scores, (30, 27), (29, 27)), at_once)


def test_of_equal_scores_the_first_class_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    for most in (1 << 20, 1):
        monkeypatch.setattr("vtbench.training.prediction._MOST_SCORES", most)
        assert (choose_classes(torch.ones(1, 5, 4, 4), (4, 4), (4, 4)) == 0).all()
