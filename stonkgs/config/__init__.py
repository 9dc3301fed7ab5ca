"""What a configuration may build, and what its values may be.

`build` makes objects of `_target_`s, `values` checks values by annotations, `variables` keeps the environment out of
records.
"""

from stonkgs.config.build import Stage, build, refused, targets
from stonkgs.config.variables import check_variables, named, variables_named

__all__ = ["Stage", "build", "check_variables", "named", "refused", "targets", "variables_named"]
