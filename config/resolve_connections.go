package config

import (
	"net"
	"strings"
	"time"
)

func (r *resolver) connections() {
	s := r.spec.Connections
	if s == nil {
		return
	}
	c := &r.plane.Connections
	if s.Kafka != nil {
		c.Kafka = r.kafka(s.Kafka)
	}
	if s.Redis != nil {
		url, ok := r.env.address("connections.redis.url", s.Redis.URL, "redis://", "rediss://", "redis-cluster://",
			"rediss-cluster://", "redis-sentinel://", "rediss-sentinel://")
		c.Redis = &Redis{URL: url, TLS: r.tls("connections.redis.tls", s.Redis.TLS)}
		if ok && s.Redis.TLS != nil && !strings.HasPrefix(string(url), "rediss") {
			r.errorf(s.Redis.TLS.Pos, "connections.redis.tls needs a rediss URL")
		}
	}
	if s.ClickHouse != nil {
		url, ok := r.env.address("connections.clickhouse.url", s.ClickHouse.URL, "clickhouse://", "clickhouses://", "http://", "https://")
		c.ClickHouse = &ClickHouse{URL: url, TLS: r.tls("connections.clickhouse.tls", s.ClickHouse.TLS), Cluster: s.ClickHouse.Cluster.V}
		r.interval("connections.clickhouse.ttl", s.ClickHouse.TTL, 24*time.Hour, 100*365*24*time.Hour, &c.ClickHouse.TTL)
		if ok && s.ClickHouse.TLS != nil && !strings.HasPrefix(string(url), "clickhouses://") && !strings.HasPrefix(string(url), "https://") {
			r.errorf(s.ClickHouse.TLS.Pos, "connections.clickhouse.tls needs a clickhouses or https URL")
		}
		if s.ClickHouse.Cluster.Set && !identifier.MatchString(s.ClickHouse.Cluster.V) {
			r.errorf(s.ClickHouse.Cluster.Pos, "connections.clickhouse.cluster %q is not allowed: %s", s.ClickHouse.Cluster.V, identifierRule)
		}
	}
	if s.Parquet != nil {
		url, _ := r.env.address("connections.parquet.url", s.Parquet.URL, "file://", "s3://", "gs://")
		c.Parquet = &Parquet{URL: url}
	}
}

func (r *resolver) kafka(s *kafkaSpec) *Kafka {
	k := &Kafka{TLS: r.tls("connections.kafka.tls", s.TLS)}
	for _, b := range s.Brokers {
		v, ok := r.env.text("connections.kafka.brokers", b)
		if !ok || !b.Set {
			continue
		}
		for _, addr := range strings.Split(v, ",") {
			addr = strings.TrimSpace(addr)
			if host, port, err := net.SplitHostPort(addr); err != nil || host == "" || !validPort(port) {
				r.errorf(b.Pos, "connections.kafka.brokers must be addresses host:port")
				continue
			}
			k.Brokers = append(k.Brokers, addr)
		}
	}
	if s.Brokers != nil && len(s.Brokers) == 0 {
		r.errorf(s.Pos, "connections.kafka names no brokers")
	}
	if s.SASL != nil {
		user, _ := r.env.text("connections.kafka.sasl.username", s.SASL.Username)
		k.SASL = &SASL{
			Mechanism: s.SASL.Mechanism.V,
			Username:  user,
			Password:  r.env.secret("connections.kafka.sasl.password", s.SASL.Password),
		}
	}
	r.replication(s, k)
	r.interval("connections.kafka.session_timeout", s.SessionTimeout, time.Second, 10*time.Minute, &k.SessionTimeout)
	return k
}

// replication leaves what is not stated at 0: the defaults depend on how many brokers the cluster has, and the addresses
// named here need not be all of them.
func (r *resolver) replication(s *kafkaSpec, k *Kafka) {
	const most = 32
	k.ReplicationFactor, k.MinInsyncReplicas = s.ReplicationFactor.V, s.MinInsyncReplicas.V
	if s.ReplicationFactor.Set && (k.ReplicationFactor < 1 || k.ReplicationFactor > most) {
		r.errorf(s.ReplicationFactor.Pos, "connections.kafka.replication_factor must be from 1 to %d", most)
		return
	}
	switch {
	case !s.MinInsyncReplicas.Set:
	case s.ReplicationFactor.Set && (k.MinInsyncReplicas < 1 || k.MinInsyncReplicas > k.ReplicationFactor):
		r.errorf(s.MinInsyncReplicas.Pos, "connections.kafka.min_insync_replicas must be from 1 to replication_factor, %d", k.ReplicationFactor)
	case k.MinInsyncReplicas < 1 || k.MinInsyncReplicas > most:
		r.errorf(s.MinInsyncReplicas.Pos, "connections.kafka.min_insync_replicas must be from 1 to %d", most)
	}
}

func (r *resolver) tls(what string, s *tlsSpec) *TLS {
	if s == nil {
		return nil
	}
	t := &TLS{CA: r.path(what+".ca", s.CA), Cert: r.path(what+".cert", s.Cert), Key: r.path(what+".key", s.Key)}
	t.ServerName, _ = r.env.text(what+".server_name", s.ServerName)
	if s.Cert.Set != s.Key.Set {
		r.errorf(s.Pos, "%s needs both cert and key, or neither", what)
	}
	return t
}
