"""Says what a configuration may build, and which values its keys may have.

`build` makes objects from `_target_`s, `values` checks values by annotations, and `variables` keeps the values of
environment variables out of records.
"""

from stonkgs.config.build import Stage, build, targets, untrusted
from stonkgs.config.variables import check_variables, config_for_record, flatten, variables_by_name

__all__ = [
    "Stage",
    "build",
    "check_variables",
    "config_for_record",
    "flatten",
    "targets",
    "untrusted",
    "variables_by_name",
]
