// Package notify delivers the messages of monitors/alert: signed webhooks, Alertmanager, Slack and PagerDuty, each a file
// and a line in one table. What to say, and when, is decided by monitors/alert; where the state of deliveries is kept is
// the Store's matter.
//
// The code cites these rules by number.
//
//   - N1 A delivery is a (channel, message). Its state is kept before it is first tried and after each attempt, so that
//     whoever takes over goes on: a message is delivered at least once, always under the same id. Offering it again
//     changes nothing.
//   - N2 Attempts follow the published schedule of Standard Webhooks (at once, then after 5 s, 5 min, 30 min, 2 h, 5 h,
//     10 h, 14 h, 20 h, 24 h) with up to a fifth added by chance, later where Retry-After asks for it. After the last the
//     delivery is dead: kept for a week, with its message, and replayed when asked for.
//   - N3 Endpoints do not wait for each other. Each has its own few attempts under way and its own pauses: one that
//     throttles, or that failed five times in a row, is left alone for a while, then tried with one message. One that
//     says 410 is disabled, and what waits for it is dead, until it is enabled or its address changes.
//   - N4 Firing comes before resolved. A resolved is not tried while its episode's firing waits or is under way on that
//     channel. When the firing has arrived it follows at once; when the firing is dead it is sent all the same, for an
//     attempt that was taken for a failure may have arrived. A firing that comes when its resolved has been sent is
//     not sent. A resolved whose firing this channel never had is sent.
//   - N5 An Alertmanager forgets what it is not told again: a firing is sent to it each minute, ending five minutes
//     ahead, until the resolved is offered.
//   - N6 No connection goes to an address that is not public unless it is allowed; what is checked is the address that is
//     connected to. No proxy is asked, no redirect followed, no more than 4 KiB of an answer read.
//   - N7 No secret is in an error, a log line or a kept state. A Slack webhook's address is one.
package notify
