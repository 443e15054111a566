from deploy.local.kafka import cluster_id


def test_cluster_ids_are_what_kafka_accepts() -> None:
    ids = {cluster_id() for _ in range(500)}
    assert len(ids) == 500
    assert all(len(text) == 22 and not text.startswith("-") for text in ids)
