"""How visual tokens are related to each other, one way a file. Importing this package registers all of them."""

from vtbench.registry import import_files

import_files(__name__, __path__)
