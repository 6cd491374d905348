"""Sessions about a cluster whose notices are lines for people; a library would warn its program of them."""

from __future__ import annotations

from functools import partial
from typing import Final

from strongroom.cli.terminal import notice
from strongroom.client import cluster

cluster_session: Final = partial(cluster.cluster_session, notice=notice)
