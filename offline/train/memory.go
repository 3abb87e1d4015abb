package train

// besides is the memory of everything but what Options.Memory bounds: the program, the store's readers, the output.
const besides = 112 << 20

// MemoryLimit returns the soft limit of a process (debug.SetMemoryLimit) that does nothing but make a set with so much
// memory (Options.Memory; 0: its default). Most of what is held is pages without pointers, which are collected at little
// cost: without a limit the heap would grow to twice of it before they are.
func MemoryLimit(memory int64) int64 {
	if memory <= 0 {
		memory = defaultMemory
	}
	return memory + besides
}
