// Package deliver runs the notifications of a plane: it reads the history of alerts and offers each message to the channels
// of its monitor, and delivers. How messages are sent and what is remembered of them is known to monitors/notify, where that
// is kept to monitors/notify/kafkastore, what is said and when to monitors/alert.
//
// Any number of processes may run it; one at a time delivers. A consumer group on the history, which has one partition,
// decides which. The others stand by. Who delivers has opened the state of deliveries, which shuts an earlier owner out,
// and reads the history from the position that is kept beside that state. The group's offsets are committed for those who
// watch lag; nothing reads them.
//
//   - D1 The position moves on only after Offer has returned, so every message that is to be sent is known to the state
//     before the history is left behind.
//   - D2 When the partition goes, attempts under way are cut short and the dispatcher has ended before it is given up.
//     If that cannot be, because the process hangs, it can write no more: the next owner may send a message again,
//     under its id, and forgets nothing.
//   - D3 A resolved goes to the monitor's channels and to those that were told of its beginning, though the monitor has
//     lost the channel since, or is not defined any more: else an Alertmanager would be told for ever that it fires. Other
//     messages of a monitor that is not defined go nowhere.
package deliver
