from .command import entry as entry
from .command import main as main
