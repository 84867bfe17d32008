"""A registry holds each model whole or not at all, on a disk and in a store; what is not whole is one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.bundle import Bundle
from monitor.folders import FolderError
from monitor.registry import Model, Registry, RegistryError
from tests.engines.bundles import write_bundle
from tests.full import filling

NS = 10**9


@pytest.fixture(params=["disk", "store"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Registry:
    return Registry(tmp_path / "models" if request.param == "disk" else f"{request.getfixturevalue('bucket')}/models")


def put(registry: Registry, folder: Path, name: str, labels: Path | None = None) -> Model:
    return registry.add(folder, name, labels=labels, author="me", reason="a test", origin="here", now_ns=NS)


def test_a_model_is_found_by_name_and_by_id_and_fetched_whole(registry: Registry, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b", text_json=b'{"a": 1}')
    model = put(registry, bundle, "december")
    assert model.id == model.bundle == Bundle.load(bundle).id
    assert registry.models() == [model]
    assert registry.find("december") == registry.find(model.id) == model
    fetched = registry.fetch("december", tmp_path / "cache")
    assert Bundle.load(fetched.bundle).id == model.id
    assert fetched.labels is None
    assert not registry.broken()


def test_a_fetched_model_serves_where_the_registry_is_away_and_is_fetched_again_where_it_was_altered(
    tmp_path: Path,
) -> None:
    place = tmp_path / "models"
    model = put(Registry(place), write_bundle(tmp_path / "b"), "december")
    fetched = Registry(place).fetch(model.id, tmp_path / "cache")
    away = place.rename(tmp_path / "elsewhere")
    assert Registry(place).fetch(model.id, tmp_path / "cache") == fetched
    (fetched.bundle / "text.json").write_bytes(b"{ }")
    with pytest.raises(FolderError, match=r"models, the registry, is not there: mount it"):
        Registry(place).fetch(model.id, tmp_path / "cache")
    away.rename(place)
    assert Registry(place).fetch(model.id, tmp_path / "cache") == fetched
    assert (fetched.bundle / "text.json").read_bytes() == b"{}"
    assert [path.name for path in (tmp_path / "cache" / "models").iterdir()] == [model.id]


def test_a_model_is_fetched_whole_once_there_is_room_and_not_at_all_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, cache = Registry(tmp_path / "models"), tmp_path / "cache"
    model = put(registry, write_bundle(tmp_path / "b"), "december")
    for room in range(len(model.files) + 1):  # files that there is room for, of the model's and model.json
        with monkeypatch.context() as full:
            full.setattr(Path, "write_bytes", filling(room))
            with pytest.raises(FolderError, match=r"cache cannot be written \(No space left on device\): make room"):
                registry.fetch(model.id, cache)
        assert not list((cache / "models").iterdir())
    assert Bundle.load(registry.fetch(model.id, cache).bundle).id == model.id


def test_labels_go_with_a_bundle_and_make_another_model_of_it(registry: Registry, tmp_path: Path) -> None:
    bundle, labels = write_bundle(tmp_path / "b"), tmp_path / "labels"
    labels.mkdir()
    with pytest.raises(RegistryError, match="holds no label"):
        put(registry, bundle, "labelled", labels)
    (labels / "my cyber.json").write_bytes(b"{}")
    with pytest.raises(RegistryError, match=r"labels/my cyber\.json cannot be kept under this name"):
        put(registry, bundle, "labelled", labels)
    assert not registry.models()
    (labels / "my cyber.json").rename(labels / "cyber.json")
    alone, both = put(registry, bundle, "alone"), put(registry, bundle, "labelled", labels)
    assert (both.bundle, both.labels, both.id != alone.id) == (alone.id, ["cyber"], True)
    fetched = registry.fetch("labelled", tmp_path / "cache")
    assert fetched.labels is not None
    assert (fetched.labels / "cyber.json").read_bytes() == b"{}"


def test_what_is_there_is_never_changed(registry: Registry, tmp_path: Path) -> None:
    bundle, other = write_bundle(tmp_path / "b"), write_bundle(tmp_path / "c", text_json=b'{"c": 1}')
    model = put(registry, bundle, "december")
    with pytest.raises(RegistryError, match=rf"holds this model already, as december \({model.id}\)"):
        put(registry, bundle, "again")
    with pytest.raises(RegistryError, match="holds a model december"):
        put(registry, other, "december")
    with pytest.raises(RegistryError, match=r"holds no model january: expected one of december\."):
        registry.find("january")
    with pytest.raises(RegistryError, match="is no name: expected up to 40 of letters"):
        put(registry, other, "my model")
    with pytest.raises(RegistryError, match=r"'decadefaced0' is no name: .* not 12 characters as an id has them"):
        put(registry, other, "decadefaced0")


def test_half_a_model_is_none_and_said(tmp_path: Path) -> None:
    place = tmp_path / "models"
    registry = Registry(place)
    bundle = write_bundle(tmp_path / "b")
    model = put(registry, bundle, "december")
    written_last = place / model.id / "model.json"
    written_last.rename(tmp_path / "kept")
    assert registry.models() == []
    assert "is half written, or no model: it has no model.json, which is written last" in registry.broken()[0]
    with pytest.raises(RegistryError, match="is half written"):
        registry.fetch(model.id, tmp_path / "cache")
    assert put(registry, bundle, "december").id == model.id  # adding it again makes it whole

    (place / model.id / "bundle" / "text.json").write_bytes(b"{ }")
    with pytest.raises(RegistryError, match=r"bundle/text.json is not what model.json says \(3 bytes, expected 2 of"):
        registry.fetch(model.id, tmp_path / "cache")
    (place / model.id / "bundle" / "text.json").unlink()
    with pytest.raises(RegistryError, match=r"bundle/text.json is missing: add the model again, or promote another"):
        registry.fetch(model.id, tmp_path / "cache")
    assert not list((tmp_path / "cache" / "models").iterdir())

    written_last.write_bytes(written_last.read_bytes().replace(b"bundle/text.json", b"bundle/../text.json"))
    with pytest.raises(RegistryError, match="names files elsewhere"):
        registry.find(model.id)
    written_last.write_bytes(b"{")
    assert "model.json is damaged" in registry.broken()[0]
