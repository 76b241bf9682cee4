import pytest

from ceguan import settings


def test_an_unknown_setting_in_the_file_is_named(tmp_path):
    (tmp_path / "ceguan.toml").write_text("web_prot = 1\n")
    with pytest.raises(settings.SettingError, match="web_prot"):
        settings.load({}, data=str(tmp_path))


def test_environment_wins_over_file_and_file_over_default(tmp_path):
    (tmp_path / "ceguan.toml").write_text("web_port = 81\nhot_days = 7\n")
    values = settings.load({"CEGUAN_WEB_PORT": "82"}, data=str(tmp_path))
    assert (values.web_port, values.hot_days, values.gateway_port) == (82, 7, 9212)


def test_a_value_of_the_wrong_kind_says_what_would_be_valid():
    with pytest.raises(settings.SettingError, match="web_port 应为 int"):
        settings.load({"CEGUAN_WEB_PORT": "eighty"})


@pytest.mark.parametrize("setting", settings.SETTINGS, ids=lambda setting: setting.name)
def test_every_setting_has_a_sentence(setting):
    assert setting.sentence.endswith("。")
