"""What Prometheus sees of the clients' door: who was let in, refused or shut out and why, and the certificate."""

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from actors.gateway_counts import GatewayCounts
from actors.tls import Tls


def gateway_metrics(counts: GatewayCounts, tls: Tls | None) -> Iterator[Metric]:
    """Every metric of the door and of the limits behind it."""
    yield CounterMetricFamily("tallystick_connections", "Connections that began a session.", counts.connections)
    yield _by_reason(
        "tallystick_connections_refused", "Connections that never began one.", "reason", counts.refused_connections
    )
    yield _by_reason(
        "tallystick_connections_closed", "Sessions that the exchange ended.", "reason", counts.closed_connections
    )
    yield CounterMetricFamily("tallystick_logons", "Logons that succeeded.", counts.logons)
    yield CounterMetricFamily("tallystick_logons_failed", "Logons that were refused.", counts.failed_logons)
    yield _by_reason(
        "tallystick_requests_refused", "Requests beyond a limit of their number.", "limit", counts.refused_requests
    )
    yield GaugeMetricFamily(
        "tallystick_unread_reply_bytes", "Memory of replies that clients do not take.", counts.reply_bytes
    )
    if tls is not None:
        yield GaugeMetricFamily(
            "tallystick_certificate_expiry_timestamp_seconds",
            "When the clients' certificate expires, in seconds since 1970.",
            tls.current.expires_ns // 10**9,
        )
        yield CounterMetricFamily("tallystick_certificate_reloads", "Times that it was read again.", tls.reloads)
        yield CounterMetricFamily(
            "tallystick_certificate_reload_failures", "Times that it could not be.", tls.failed_reloads
        )


def _by_reason(name: str, about: str, label: str, counts: Mapping[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, about, labels=[label])
    for reason, count in counts.items():
        family.add_metric([reason], count)
    return family
