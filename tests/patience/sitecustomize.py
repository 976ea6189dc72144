"""What Python runs first in each process of a server that tests/servers.py starts: a call of its store may take as long as in the server
of rampd_server.testing, because the machine of a test may be busy.
"""

import os

from rampd_server.storage import link

link.DEADLINE_S = float(os.environ["STORE_DEADLINE_S"])  # type: ignore[misc]
