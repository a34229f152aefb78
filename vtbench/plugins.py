"""Packages that add models, attention blocks, data sets or recipes: entry points of the group ``vtbench.plugins``.

They are imported when a name is asked for that nothing here bears, and when all models are listed; so no other command
waits for them. One that cannot be imported is named where a name stays unknown, and harms nothing else.
"""

from __future__ import annotations

from types import ModuleType

GROUP = "vtbench.plugins"


class Plugins:
    """The packages that are installed. ``loading`` is that which is being imported just now, None outside of that.

    ``modules`` has the module of every package.
    """

    def __init__(self) -> None:
        self.loading: str | None = None
        self.loaded: list[str] = []
        self.modules: dict[str, str] = {}
        self.faults: list[str] = []
        self._is_asked = False

    def load(self) -> None:
        """Import every package, once in a process; ``faults`` then holds a sentence for each that cannot be used."""
        if self._is_asked:
            return
        self._is_asked = True  # A plug-in that asks for an unknown name is answered without another round.
        from importlib.metadata import entry_points

        for point in entry_points(group=GROUP):
            self.loading = point.dist.name if point.dist is not None else point.module
            self.modules[self.loading] = point.module.partition(".")[0]
            try:
                found = point.load()
                if not isinstance(found, ModuleType):
                    found()
            except (Exception, SystemExit) as error:
                self.report(self.loading, f"{point.value} gives {type(error).__name__}: {error}")
            else:
                self.loaded.append(self.loading)
            finally:
                self.loading = None

    def report(self, package: str, problem: str) -> None:
        """Note what is wrong with a package."""
        self.faults.append(
            f"The plug-in {package} cannot be used: {problem.rstrip('.')}. Mend it, or pip uninstall {package}."
        )


PLUGINS = Plugins()
"""Those of this process."""
