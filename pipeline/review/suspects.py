"""Labels that are probably wrong, of all splits, by scores of models that haven't seen the image.

A kernel's least squares in folds, whose solution is one equation for each, and a regression that
makes scores of them. Then confident learning (Northcutt, Jiang and Chuang 2021): a label is suspect
where another class has a higher score, as its own images have on average, or its own is very low.
"""

import warnings
from collections.abc import Iterator

import numpy as np
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

_FOLDS = 5
_LANDMARKS = 2000  # images of the kernel, at most half of all
_SHRINKAGE = 0.1  # of the mean eigenvalue
_SLACK = 0.1  # of the regression
_UNLIKELY = 0.1  # score of its own class below which a label is suspect, however unsure the other
_BLOCK = 4096  # images whose distances to the landmarks are in memory at a time


def scores(points: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Each image's scores by models that haven't learnt from it, float32 [images, classes].

    Args:
      points: of ``features.Space``, float32 [images, components].
      labels: numbers of classes from 0, int64 [images].
    """
    folds = _folds(labels)
    answers = _least_squares(points, labels, folds)
    return _regressed(answers / max(float(answers.std()), 1e-6), labels, folds)


def judge(answers: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether each label is suspect, bool [images], and the class that fits best beside it.

    ``answers``: of ``scores``.
    """
    own = np.arange(len(labels)), labels
    counts = np.bincount(labels, minlength=answers.shape[1])
    usual = np.bincount(labels, answers[own], answers.shape[1]) / np.maximum(counts, 1)
    others = answers.copy()
    others[own] = -1
    fitting = others.argmax(axis=1)
    score = others.max(axis=1)
    sure = (score >= usual[fitting]) | (answers[own] < _UNLIKELY)
    return (score > answers[own]) & sure, fitting


def _folds(labels: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """What is learnt from, and what is held out, in each of the folds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a class that has fewer images than there are folds
        folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
        return list(folds.split(np.zeros(len(labels)), labels))


def _least_squares(
    points: np.ndarray, labels: np.ndarray, folds: list[tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    generator = np.random.default_rng(0)
    sample = generator.permutation(len(points))[: _LANDMARKS * 4]
    landmarks = min(_LANDMARKS, max(1, len(points) // 2))
    kernel = Nystroem(gamma=1.0, n_components=landmarks, random_state=0).fit(points[sample])
    classes = int(labels.max()) + 1

    def blocks(rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for begin in range(0, len(rows), _BLOCK):
            part = rows[begin : begin + _BLOCK]
            near = kernel.transform(points[part]).astype(np.float32)
            yield part, np.hstack([near, np.ones((len(part), 1), np.float32)])

    squares, products = [], []
    for _, held_out in folds:
        square = np.zeros((landmarks + 1, landmarks + 1))
        product = np.zeros((landmarks + 1, classes))
        for part, near in blocks(held_out):
            square += near.T @ near
            product += near.T @ np.eye(classes, dtype=np.float32)[labels[part]]
        squares.append(square)
        products.append(product)
    answers = np.empty((len(points), classes), np.float32)
    for fold, (_, held_out) in enumerate(folds):
        square, product = sum(squares) - squares[fold], sum(products) - products[fold]
        square[np.diag_indices_from(square)] += _SHRINKAGE * np.trace(square) / len(square)
        weights = np.linalg.solve(square, product).astype(np.float32)
        for part, near in blocks(held_out):
            answers[part] = near @ weights
    return answers


def _regressed(
    answers: np.ndarray, labels: np.ndarray, folds: list[tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    """Scores of answers: least squares know nothing of how sure they may be."""
    result = np.zeros_like(answers)
    for learnt, held_out in folds:
        model = LogisticRegression(C=_SLACK, max_iter=200).fit(answers[learnt], labels[learnt])
        result[np.ix_(held_out, model.classes_)] = model.predict_proba(answers[held_out])
    return result
