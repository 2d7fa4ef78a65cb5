"""The programs that ``dv demo`` writes and runs: they train two models on the images, and put both together."""

from __future__ import annotations

from typing import Final

TRAIN: Final = '''\
"""Train one model on the images below digits/, and keep it."""

import glob
import pickle
import sys

import dvtool
import numpy as np
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

kind = sys.argv[1]
paths = sorted(glob.glob("digits/*/*.png"))
images = np.array([np.asarray(Image.open(path), dtype=float).ravel() / 255 for path in paths])
labels = np.array([int(path.split("/")[1]) for path in paths])
order = np.random.default_rng(0).permutation(len(paths))
learn, check = order[300:], order[:300]

with dvtool.run() as run:
    run.seeds(numpy=0)
    if kind == "neighbours":
        run.params(neighbours=3)
        model = KNeighborsClassifier(n_neighbors=3).fit(images[learn], labels[learn])
        run.log(split="val", accuracy=model.score(images[check], labels[check]))
    else:
        run.params(C=0.5)
        model = LogisticRegression(C=0.5, warm_start=True, max_iter=10, solver="newton-cg")
        for step in range(4):
            model.set_params(C=0.5 * 4**step).fit(images[learn], labels[learn])
            run.params(C=0.5 * 4**step, step=step)
            run.log(step=step, split="val", accuracy=model.score(images[check], labels[check]))
    with open(f"models/{kind}.pkl", "wb") as file:
        pickle.dump(model, file)
'''

ENSEMBLE: Final = '''\
"""Put both models together, and try the whole on the images below heldout/."""

import glob
import pickle

import dvtool
import numpy as np
from PIL import Image

models = []
for kind in ("neighbours", "logistic"):
    with open(f"models/{kind}.pkl", "rb") as file:
        models.append(pickle.load(file))
paths = sorted(glob.glob("heldout/*/*.png"))
images = np.array([np.asarray(Image.open(path), dtype=float).ravel() / 255 for path in paths])
labels = np.array([int(path.split("/")[1]) for path in paths])
found = np.mean([model.predict_proba(images) for model in models], axis=0).argmax(axis=1)

with dvtool.run() as run:
    run.seeds(none_used=0)
    run.params(members=["neighbours", "logistic"])
    run.log(split="test", accuracy=(found == labels).mean())
    run.log_samples({"path": paths, "predicted": found, "label": labels})
    with open("models/ensemble.pkl", "wb") as file:
        pickle.dump(models, file)
'''

SPLITS: Final = """
[splits]
train = ["digits"]
test = ["heldout"]
"""
