package deliver

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/monitors/notify"
)

// setting is one that a channel needs.
type setting struct {
	name  string
	there bool
}

// kinds makes a channel of each kind, and says which of its settings it cannot do without.
var kinds = map[string]struct {
	required func(c *config.Channel) []setting
	make     func(c *config.Channel) (*notify.Channel, error)
}{
	"webhook": {
		func(c *config.Channel) []setting {
			need := []setting{{"url", c.URL != ""}, {"secret", len(c.Secrets) > 0 && c.Secrets[0] != ""}}
			if len(c.Secrets) > 1 {
				need = append(need, setting{"previous_secret", c.Secrets[1] != ""})
			}
			return need
		},
		func(c *config.Channel) (*notify.Channel, error) {
			var secrets []notify.Secret
			for _, s := range c.Secrets {
				secrets = append(secrets, notify.Secret(s))
			}
			return notify.NewWebhook(notify.WebhookOptions{Name: c.Name, URL: string(c.URL), Secrets: secrets, Network: notify.Network{Allow: c.Allow}})
		},
	},
	"alertmanager": {
		func(c *config.Channel) []setting { return []setting{{"url", c.URL != ""}} },
		func(c *config.Channel) (*notify.Channel, error) {
			return notify.NewAlertmanager(notify.AlertmanagerOptions{Name: c.Name, URL: string(c.URL), Network: notify.Network{Allow: c.Allow}})
		},
	},
	"slack": {
		func(c *config.Channel) []setting { return []setting{{"url", c.URL != ""}} },
		func(c *config.Channel) (*notify.Channel, error) {
			return notify.NewSlack(notify.SlackOptions{Name: c.Name, URL: notify.Secret(c.URL), Network: notify.Network{Allow: c.Allow}})
		},
	},
	"pagerduty": {
		func(c *config.Channel) []setting { return []setting{{"routing_key", c.RoutingKey != ""}} },
		func(c *config.Channel) (*notify.Channel, error) {
			return notify.NewPagerDuty(notify.PagerDutyOptions{Name: c.Name, RoutingKey: notify.Secret(c.RoutingKey), Network: notify.Network{Allow: c.Allow}})
		},
	},
}

// NewChannel returns a channel that can send. The error names the channel and its setting, and no secret.
func NewChannel(c *config.Channel) (*notify.Channel, error) {
	kind, ok := kinds[c.Kind]
	if !ok {
		return nil, fmt.Errorf("channel %q: there is no kind %q", c.Name, c.Kind)
	}
	var missing error
	for _, s := range kind.required(c) {
		if !s.there {
			missing = errors.Join(missing, fmt.Errorf("channel %q: %s.%s is empty; 'freshet check' says which variable or file it needs", c.Name, c.Kind, s.name))
		}
	}
	if missing != nil {
		return nil, missing
	}
	return kind.make(c)
}

// newChannels returns a plane's channels. One that a monitor sends to must be complete; another is left out.
func newChannels(p *config.Plane, logger *slog.Logger) ([]*notify.Channel, error) {
	var out []*notify.Channel
	var failed error
	for _, c := range p.Channels {
		made, err := NewChannel(c)
		user := monitorOf(p, c)
		switch {
		case err == nil:
			out = append(out, made)
		case user == "":
			logger.Warn("a channel that no monitor uses cannot send", "channel", c.Name, "error", err)
		default:
			failed = errors.Join(failed, fmt.Errorf("monitor %q: %w", user, err))
		}
	}
	return out, failed
}

// monitorOf names a monitor that sends to a channel.
func monitorOf(p *config.Plane, c *config.Channel) string {
	for _, m := range p.Monitors {
		for _, used := range m.Channels {
			if used == c {
				return m.Name
			}
		}
	}
	return ""
}
