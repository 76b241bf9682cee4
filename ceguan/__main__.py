import sys

from ceguan.cli import main

sys.exit(main())
