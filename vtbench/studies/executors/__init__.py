"""What can carry the cells of a study out, one file each. Importing this package registers all of them."""

from vtbench.registry import import_files

import_files(__name__, __path__)
