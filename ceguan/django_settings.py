"""Django's settings, made from ceguan.settings. Django's defaults of safety stay on."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from ceguan import settings as _settings
from ceguan.once import once
from ceguan.settings import SUPERSEDED

CEGUAN = _settings.load()
BASE = Path(__file__).parent


def _secret_key() -> str:
    """The installation's own key, made once in the data folder, readable by its owner only."""
    path = CEGUAN.folder / "secret.key"
    key = once(path, lambda: secrets.token_urlsafe(50))
    if not key:
        raise ImproperlyConfigured(f"{path} 是空的：请从备份取回，平台加密保存的设备密钥只有它能打开")
    return key


SECRET_KEY = _secret_key()
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]", *filter(None, CEGUAN.allowed_hosts.split(","))]
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "axes",
    "csp",
    "ceguan.registry",
    "ceguan.intake",
    "ceguan.watch",
    "ceguan.cases",
    "ceguan.web",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "ceguan.web.middleware.ChineseFirst",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "ceguan.web.middleware.SignedIn",
    "ceguan.web.middleware.Frame",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "ceguan.web.urls"
WSGI_APPLICATION = "ceguan.web.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE / "web" / "templates"],
        "APP_DIRS": False,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "ceguan.web.context.frame",
            ],
            "builtins": ["django.templatetags.i18n", "django.templatetags.static", "ceguan.web.templatetags.pieces"],
        },
    }
]


def _not_superseded(path: Path) -> None:
    """Nobody starts on files that have moved. Raises ImproperlyConfigured."""
    if path.is_file() and (said := json.loads(path.read_text()))["state"] == "moved":
        raise ImproperlyConfigured(f"{path.parent} 的数据已迁往 {said['to']}：请设 database_url，旧文件只供查阅")


def database(url: str) -> dict[str, Any]:
    """The business database: PostgreSQL where the settings name one, else SQLite in the data folder."""
    if not url:
        _not_superseded(CEGUAN.folder / SUPERSEDED)
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": CEGUAN.folder / "business.db",
            "CONN_MAX_AGE": None,
            "OPTIONS": {
                "timeout": 20,
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;",
            },
        }
    from psycopg.conninfo import conninfo_to_dict

    given = conninfo_to_dict(url)
    main = {name: given.pop(key, "") for name, key in _CONNECTION}
    return {"ENGINE": "ceguan.registry.postgres", **main, "CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True,
            "OPTIONS": given}  # fmt: skip


_CONNECTION = (("NAME", "dbname"), ("USER", "user"), ("PASSWORD", "password"), ("HOST", "host"), ("PORT", "port"))
DATABASES = {"default": database(CEGUAN.database_url)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "registry.User"
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
AXES_FAILURE_LIMIT = CEGUAN.lockout_failures
AXES_COOLOFF_TIME = CEGUAN.lockout_minutes / 60
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_LOCKOUT_TEMPLATE = "locked.html"
AXES_RESET_ON_SUCCESS = True
AXES_VERBOSE = False
LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "work"
SESSION_COOKIE_AGE = int(CEGUAN.session_hours * 3600)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = CEGUAN.secure
SECURE_HSTS_SECONDS = 31_536_000 if CEGUAN.secure else 0
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if CEGUAN.secure else None
CSRF_COOKIE_HTTPONLY = False
CSRF_FAILURE_VIEW = "ceguan.web.pages.errors.csrf_failed"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:", "blob:"],
        "worker-src": [SELF, "blob:"],
        "connect-src": [SELF],
        "object-src": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}
LANGUAGE_CODE = "zh-hans"
LANGUAGES = [("zh-hans", "中文"), ("en", "English")]
LOCALE_PATHS = [BASE / "web" / "locale"]
USE_TZ = True
TIME_ZONE = "Asia/Shanghai"
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE / "web" / "static"]
WHITENOISE_USE_FINDERS = True
WHITENOISE_MAX_AGE = 3600
DATA_UPLOAD_MAX_MEMORY_SIZE = 60 << 20
FILE_UPLOAD_MAX_MEMORY_SIZE = 4 << 20
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
}
