from django.apps import AppConfig


class WebConfig(AppConfig):
    name = "ceguan.web"
    label = "web"
