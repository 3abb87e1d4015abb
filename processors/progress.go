package processors

// Progress is what a runtime has done since it began.
type Progress struct {
	Events      int64 // records of source and repartition topics that tasks have taken up, refused ones included
	DeadLetters int64
	Waiting     int  // entities that are not published yet
	Idle        bool // no transaction is open: what has been taken up is committed
}

// Progress reports how far the materializer is. It may be called at any time.
func (r *Runtime) Progress() Progress {
	if r.mat == nil {
		return Progress{}
	}
	return *r.mat.progress.Load()
}

// report sets what Progress returns.
func (m *materializer) report() {
	m.progress.Store(&Progress{Events: m.taken, DeadLetters: m.deadLetters, Waiting: m.waiting(), Idle: !m.inTxn && m.ending == nil && !m.pub.sending})
}
