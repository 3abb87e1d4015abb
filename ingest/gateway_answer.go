package ingest

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// The results that are no class of refusal.
const (
	resultAccepted        = "accepted"
	resultNotAcknowledged = "not_acknowledged"
)

// answer is what the gateway says to one request.
type answer struct {
	status     int
	retryAfter int // seconds; 0: the header is not sent
	body       answerBody
}

// answerBody is its JSON. Accepted, Refused and NotAcknowledged are there whenever the request's records were judged.
type answerBody struct {
	Error           string           `json:"error,omitempty"`
	Accepted        *int             `json:"accepted,omitempty"`
	Refused         *[]refusedRecord `json:"refused,omitempty"`
	NotAcknowledged *[]unackedRecord `json:"not_acknowledged,omitempty"`
	// UnknownFields counts the fields of accepted and unacknowledged records that the source's schema does not name.
	UnknownFields int       `json:"unknown_fields,omitempty"`
	Sources       *[]string `json:"sources,omitempty"`
	Models        *[]string `json:"models,omitempty"`
}

// refusedRecord is a record that was not produced and never will be as it is.
type refusedRecord struct {
	Index  int    `json:"index"` // in the request, from 0
	Field  string `json:"field,omitempty"`
	Class  Class  `json:"class"`
	Reason string `json:"reason"`
}

// unackedRecord is a record whose fate is unknown: it may or may not be in the topic.
type unackedRecord struct {
	Index  int    `json:"index"`
	Reason string `json:"reason"`
}

// refuse answers a request of which no record was judged.
func refuse(status int, text string) *answer {
	return &answer{status: status, body: answerBody{Error: text}}
}

// tooMany answers a request that does not fit at the moment.
func tooMany(text string) *answer {
	a := refuse(http.StatusTooManyRequests, text+"; nothing of this request was taken: send it again")
	a.retryAfter = 1
	return a
}

func (a *answer) code() string { return strconv.Itoa(a.status) }

func (a *answer) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	if a.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(a.retryAfter))
	}
	w.WriteHeader(a.status)
	// An error here means that the client is gone; its records are in Kafka, as it will find out by asking again.
	_ = json.NewEncoder(w).Encode(&a.body)
}
