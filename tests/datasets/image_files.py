"""Small image folders and parquet files for the tests of data sets."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def make_image(seed=0, size=(8, 8), mode="RGB"):
    height, width = size
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels).convert(mode)


def encode(image, kind="PNG"):
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


def make_folder(root, *, classes=("cat", "dog"), num_train=3, num_val=2, size=(8, 8)):
    seed = 0
    for split, count in (("train", num_train), ("val", num_val)):
        for name in classes:
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                make_image(seed, size).save(root / split / name / f"{number}.png")
                seed += 1
    return root


def make_table(labels, *, image="image", label="label", images=None, metadata=None, label_type=None):
    images = images or [encode(make_image(number)) for number in range(len(labels))]
    columns = {
        image: pa.array(
            [{"bytes": data, "path": None} for data in images], pa.struct({"bytes": "binary", "path": "string"})
        ),
        label: pa.array(labels, label_type or pa.int64()),
    }
    table = pa.table(columns)
    return table.replace_schema_metadata(metadata) if metadata else table


def make_parquet(root, *, train=(0, 1, 0, 1), val=(0, 1), **options):
    root.mkdir(parents=True, exist_ok=True)
    pq.write_table(make_table(list(train), **options), root / "train-00000-of-00001.parquet", row_group_size=3)
    pq.write_table(make_table(list(val), **options), root / "val-00000-of-00001.parquet")
    return root
