#!/usr/bin/env bash
# torchmetrics' MeanIoU is neither the mean over images nor the mean over classes where images hold different classes.
#
# Versions: torchmetrics 1.9.0 with torch 2.14.1 from the package index, Python 3.11, Linux, CPU.
#
# Guess: torchmetrics.segmentation.MeanIoU gives the mean over images of what its own functional mean_iou gives for each
# image (0.7778 below); second guess, the mean over classes of what per_class=True gives (0.6111). DiceScore of the same
# module, which averages images by default, does the first. A class that is in neither prediction nor truth is NaN with
# per_class=True.
#
# Behaviour: MeanIoU.compute() adds up the IoU of every pair of an image and a class that is in it, and divides by the
# number of pairs: an image weighs as much as it has classes. So one wrong patch of a class that the image does not have
# also gives that image more weight. An absent class is -1. Seen on 1.9.0, two images of three classes, of which the first
# is right and holds two, and the second has a wrong row of the third:
#
#   IoU by image and class [[1.0, 1.0, -1.0], [0.6667, 1.0, 0.0]]
#   IoU by image [1.0, 0.5556]
#   MeanIoU 0.7333
#   MeanIoU by class [0.8333, 1.0, 0.0]
#   mean over images 0.7778, over classes 0.6111, over pairs 0.7333
#   DiceScore 0.8, mean over images 0.8
#
# Exit code 0: all as described. 1: it has changed, or the installation failed.
set -euo pipefail
PYTHON="${PYTHON:-python3}"
FOLDER="$(mktemp -d)"
trap 'rm -rf "$FOLDER"' EXIT
cd "$FOLDER"

"$PYTHON" -m venv venv
venv/bin/python -m pip install --quiet --no-cache-dir 'torch==2.14.1' 'torchmetrics==1.9.0'

cat > two_images.py <<'PROGRAM'
import torch
from torchmetrics.functional.segmentation import mean_iou
from torchmetrics.segmentation import DiceScore, MeanIoU

truth = torch.zeros(2, 4, 4, dtype=torch.long)
truth[:, 0] = 1
predicted = truth.clone()
predicted[1, 3] = 2


def spell(values):
    return [[round(one, 4) for one in row] if isinstance(row, list) else round(row, 4) for row in values.tolist()]


def follow(metric):
    for image in range(2):
        metric.update(predicted[image : image + 1], truth[image : image + 1])
    return metric.compute()


pairs = mean_iou(predicted, truth, num_classes=3, input_format="index", per_class=True)
images = mean_iou(predicted, truth, num_classes=3, input_format="index")
by_class = follow(MeanIoU(num_classes=3, input_format="index", per_class=True))
print("IoU by image and class", spell(pairs))
print("IoU by image", spell(images))
print("MeanIoU", round(float(follow(MeanIoU(num_classes=3, input_format="index"))), 4))
print("MeanIoU by class", spell(by_class))
over_pairs = float(pairs[pairs >= 0].mean())
print(f"mean over images {images.mean():.4f}, over classes {by_class.mean():.4f}, over pairs {over_pairs:.4f}")
dice = follow(DiceScore(num_classes=3, input_format="index", average="macro"))
print(f"DiceScore {dice:.1f}, mean over images {(1 + (0.8 + 1 + 0) / 3) / 2:.1f}")
PROGRAM

venv/bin/python two_images.py > output.txt
cat output.txt
cat > expected.txt <<'EXPECTED'
IoU by image and class [[1.0, 1.0, -1.0], [0.6667, 1.0, 0.0]]
IoU by image [1.0, 0.5556]
MeanIoU 0.7333
MeanIoU by class [0.8333, 1.0, 0.0]
mean over images 0.7778, over classes 0.6111, over pairs 0.7333
DiceScore 0.8, mean over images 0.8
EXPECTED
diff expected.txt output.txt > changed.txt || { echo "CHANGED:"; cat changed.txt; exit 1; }
echo "as described"
