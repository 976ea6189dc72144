"""What a scrape of a server says, as Prometheus would read it."""

import httpx
from prometheus_client.parser import text_string_to_metric_families


class Scraped:
    """The samples of one scrape."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float | None:
        """The value of the one series with this name and these labels; None if there is no such series."""
        return self._samples.get((name, frozenset(labels.items())))

    def all(self, name: str, **labels: str) -> list[dict[str, str]]:
        """The labels of all series with this name that have these labels."""
        return [dict(has) for found, has in self._samples if found == name and labels.items() <= dict(has).items()]

    @property
    def components(self) -> set[str]:
        """Every value of the label `component`."""
        return {value for _, labels in self._samples for key, value in labels if key == "component"}

    def counters(self) -> dict[str, float]:
        """All series that must never go back, by their names and labels."""
        return {
            f"{name}{sorted(labels)}": value
            for (name, labels), value in self._samples.items()
            if name.endswith(("_total", "_bucket", "_count", "_sum"))
        }


def scrape(http: object, token: str = "") -> Scraped:
    """Asks a server for its metrics."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    answer = httpx.get(f"http://{http}/metrics", headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return Scraped(answer.text)
