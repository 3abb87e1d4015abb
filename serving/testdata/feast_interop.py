"""Reads features from a running server through Feast's Python SDK, with its remote online store, and prints what the SDK
made of them as JSON: python feast_interop.py http://127.0.0.1:PORT"""

import json
import sys
import tempfile
from pathlib import Path

from feast import FeatureStore
from feast.errors import FeastError

root = Path(tempfile.mkdtemp())
(root / "feature_store.yaml").write_text(
    f"""project: flights
provider: local
registry: {root}/registry.db
online_store:
  type: remote
  path: {sys.argv[1]}
  connection_retries: 0
entity_key_serialization_version: 3
"""
)
store = FeatureStore(repo_path=str(root))
out = {}


def read(name, features, rows, **options):
    response = store.get_online_features(features=features, entity_rows=rows, **options)
    out[name] = {
        "dict": response.to_dict(),
        "types": {
            n: [v.WhichOneof("val") for v in r.values]
            for n, r in zip(response.proto.metadata.feature_names.val, response.proto.results)
        },
        "statuses": {
            n: list(r.statuses)
            for n, r in zip(response.proto.metadata.feature_names.val, response.proto.results)
        },
    }


def fails(name, features, rows):
    try:
        read(name, features, rows)
    except Exception as e:  # whatever the SDK raises is what its user sees
        out[name] = {"raised": type(e).__name__, "feast": isinstance(e, FeastError), "message": str(e)}


read(
    "carriers",
    ["carrier_delays:mean_delay_1h", "carrier_delays:departures_ever", "carrier_delays:last_dest"],
    [{"carrier": "AA"}, {"carrier": "UA"}, {"carrier": "ZZ"}],
)
read("full", ["route_delays:mean_delay_24h"], [{"origin": "JFK", "dest": "LAX"}], full_feature_names=True)
read(
    "types",
    ["user_profile:" + f for f in ("score", "member", "visits", "seen", "token", "tags", "last_scores")],
    [{"user_id": 1001}],
)
fails("unknown_view", ["carrier_delay:last_dest"], [{"carrier": "AA"}])
fails("unknown_feature", ["carrier_delays:last_dst"], [{"carrier": "AA"}])
fails("wrong_type", ["user_profile:visits"], [{"user_id": "1001"}])
print(json.dumps(out))
