"""The families of models, one file each; `MODELS` imports a file when one of its models is asked for, or all."""

from vtbench.variants import MODELS

MODELS.expect_files(__name__, __path__)
