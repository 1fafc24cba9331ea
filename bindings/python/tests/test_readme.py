"""The Python samples of the READMEs run."""

from __future__ import annotations

from pathlib import Path

import pytest

BINDINGS = Path(__file__).parents[2]


@pytest.mark.parametrize("page", ["README.md", "python/README.md"])
def test_sample_runs(page, control_plane, genuine, token, tmp_path, capsys):
    text = (BINDINGS / page).read_text()
    sample = text.split("```python\n", 1)[1].split("```", 1)[0]
    for words, others in [
        ("https://licenses.example.com/.well-known/jwks.json", f"{control_plane.url}/jwks.json"),
        ("https://licenses.example.com", genuine["settings"]["issuer"]),
        ("/var/lib/acme", str(tmp_path)),
        ('audience="data-plane",', f'audience="data-plane", fixed_time={genuine["now"]},'),
    ]:
        assert words in sample, words
        sample = sample.replace(words, others)
    names = {"token": token, "used": 1}
    exec(sample, names)
    assert names["license"].state == "valid"
    assert (tmp_path / "license-state.json").exists()
    assert capsys.readouterr().out == ""
