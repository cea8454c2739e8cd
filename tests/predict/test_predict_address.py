"""Passwords stay where they were given."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunus.core.runs import settings_text
from prunus.predict.address import stem_of, without_secrets
from prunus.predict.config import PredictConfig


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("rtsp://10.0.0.7:554/cam1", "rtsp://10.0.0.7:554/cam1"),
        ("rtsp://root:plum@10.0.0.7/cam", "rtsp://10.0.0.7/cam"),
        ("rtsp://root:pl@um@10.0.0.7/cam", "rtsp://10.0.0.7/cam"),
        ("rtsp://root:pl/um@10.0.0.7/cam", "rtsp://10.0.0.7/cam"),
        ("rtsp://h/live?user=root&password=plum", "rtsp://h/live?***"),
        ("rtsp://h/user=root&password=plum&channel=1", "rtsp://h/user=***&password=***&channel=***"),
        ("rtsp://h/user=root_password=plum_channel=1.sdp", "rtsp://h/user=***"),
        ("photos/a=b@c.jpg", "photos/a=b@c.jpg"),
        ("0", "0"),
    ],
)  # fmt: skip
def test_addresses_by_hand(address: str, told: str) -> None:
    assert without_secrets(address) == told


SECRET = st.text(string.ascii_letters + string.digits + "!$@:/=.;?#", min_size=1).map(
    lambda text: f"PlUm{text}PlUm"
)


@given(SECRET, SECRET)
def test_no_part_of_user_or_password_is_told(user: str, password: str) -> None:
    address = f"rtsp://{user}:{password}@10.0.0.7:554/cam/1"
    assert without_secrets(address) == "rtsp://10.0.0.7:554/cam/1"
    assert "PlUm" not in stem_of(address)


@pytest.mark.parametrize(
    ("address", "stem"),
    [
        ("rtsp://root:plum@10.0.0.7:554/cam/1", "10.0.0.7-cam-1"),
        ("rtsp://h/../../etc", "h-..-..-etc"),
        ("udp://@:1234", "stream"),
        ("rtsp://[::1]:554/x", "1-x"),
    ],
)
def test_files_about_a_stream_are_called_after_its_host(address: str, stem: str) -> None:
    assert stem_of(address) == stem


def test_settings_are_written_without_passwords_but_used_with_them() -> None:
    address = "rtsp://root:plum@10.0.0.7/cam"
    settings = PredictConfig(weights="w.onnx", source=(address,))
    assert settings.source == (address,)
    assert "plum" not in settings_text(settings)
    assert "rtsp://10.0.0.7/cam" in settings_text(settings)
    assert settings.model_dump(mode="json")["source"] == ["rtsp://10.0.0.7/cam"]
