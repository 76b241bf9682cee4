"""Ceguan 测管: every measurement leads to management, every act of management rests on measurement."""

__version__ = "0.1.0"
