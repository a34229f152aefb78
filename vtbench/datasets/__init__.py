"""Data sets: labelled images by name, decoded once, subset by the seed, and batches of them."""

import importlib
import pkgutil

from vtbench.datasets import sources
from vtbench.datasets.dataset import DataError, ImageDataset, Split
from vtbench.datasets.loading import LoadedDataset, load_dataset
from vtbench.datasets.source import DATASETS, list_datasets

for _module in pkgutil.iter_modules(sources.__path__):
    importlib.import_module(f"vtbench.datasets.sources.{_module.name}")

__all__ = ["DATASETS", "DataError", "ImageDataset", "LoadedDataset", "Split", "list_datasets", "load_dataset"]
