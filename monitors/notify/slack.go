package notify

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/freshet-io/freshet/monitors/alert"
)

// SlackOptions are of a channel that posts to an incoming webhook of Slack.
type SlackOptions struct {
	Name    string
	URL     Secret // the whole address is the secret
	Network Network
}

// Limits of Block Kit, docs.slack.dev/reference/block-kit/blocks.
const (
	slackHeader  = 150
	slackSection = 3000
)

type slackText struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

type slackBlock struct {
	Type     string      `json:"type"`
	Text     *slackText  `json:"text,omitempty"`
	Elements []slackText `json:"elements,omitempty"`
}

type slackMessage struct {
	Text   string       `json:"text"` // what notifications show
	Blocks []slackBlock `json:"blocks"`
}

// NewSlack returns the channel.
func NewSlack(o SlackOptions) (*Channel, error) {
	c, u, err := newChannel(o.Name, slackKind, o.URL, o.Network, []Secret{o.URL})
	if err != nil {
		return nil, err
	}
	c.secrets = append(c.secrets, Secret(strings.TrimPrefix(u.Path, "/"))) // what an answer or an error may repeat
	c.render = func(m *alert.Message, _ time.Time) (*http.Request, error) {
		body, err := json.Marshal(slackOf(m))
		if err != nil {
			return nil, err
		}
		return post(u, "application/json", body)
	}
	return c, nil
}

func slackOf(m *alert.Message) slackMessage {
	title := "Firing: " + m.Monitor
	if m.Type == alert.ResolvedType {
		title = "Resolved: " + m.Monitor
	}
	out := slackMessage{Text: cut(slackEscape(m.Summary), slackSection)}
	out.Blocks = append(out.Blocks,
		slackBlock{Type: "header", Text: &slackText{"plain_text", cut(title, slackHeader)}},
		slackBlock{Type: "section", Text: &slackText{"mrkdwn", cut(slackEscape(m.Summary), slackSection)}})
	if text := evidenceText(m); text != "" && m.Type != alert.ResolvedType {
		const fence = "```"
		text = strings.ReplaceAll(slackEscape(text), fence, "'''")
		out.Blocks = append(out.Blocks, slackBlock{Type: "section", Text: &slackText{"mrkdwn", fence + cut(text, slackSection-2*len(fence)) + fence}})
	}
	out.Blocks = append(out.Blocks, slackBlock{Type: "context", Elements: []slackText{{"mrkdwn", "episode " + m.Episode}}})
	return out
}

// slackEscape keeps a column's name from being a link or a mention.
func slackEscape(text string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text)
}
