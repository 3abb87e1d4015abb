package alert

import "strings"

// EpisodeID is the id of the episode that an evaluation opens of a group written as class/name.
func EpisodeID(monitor string, e Evaluation, key string) string {
	class, name, _ := strings.Cut(key, "/")
	return episodeID(monitor, group{Class(class), name}, e.Lane, e.Window.End)
}
